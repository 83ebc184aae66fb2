package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
)

// room is what one run has to itself: a private directory, and a mark that
// says, for as long as it is locked, that the run is not over. The program
// inherits the lock, so that it outlives a worker that was killed.
type room struct {
	dir  string // names the run in the environment of its processes
	mark *os.File
}

// origin is where a run was: what stands in its mark.
type origin struct {
	Host string `json:"host"`
	Boot string `json:"boot"` // of the kernel; empty where it has none to tell
}

func here() origin {
	host, _ := os.Hostname() // without a name all hosts are called alike
	return origin{Host: host, Boot: bootID()}
}

var runID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func idOf(req providers.Request) (string, error) {
	id := req.JobID + "-" + strconv.Itoa(req.Submission)
	if !runID.MatchString(id) {
		return "", errors.New("the job's id cannot name a directory")
	}
	return id, nil
}

func (p *Provider) markPath(id string) string { return filepath.Join(p.root, "runs", id) }
func (p *Provider) workPath(id string) string { return filepath.Join(p.root, "work", id) }

// enter makes the room of a submission.
func (p *Provider) enter(req providers.Request) (*room, error) {
	id, err := idOf(req)
	if err != nil {
		return nil, err
	}
	r := &room{dir: p.workPath(id)}
	if err := os.MkdirAll(filepath.Dir(p.markPath(id)), 0o700); err != nil {
		return nil, err
	}
	// Each submission has a number of its own: what is there already is a run.
	if r.mark, err = os.OpenFile(p.markPath(id), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err = lock(r.mark); err == nil {
		err = json.NewEncoder(r.mark).Encode(here())
	}
	for _, dir := range []string{r.path("input"), r.path("output"), r.path("tmp")} {
		err = errors.Join(err, os.MkdirAll(dir, 0o700))
	}
	if err != nil {
		r.leave()
		return nil, err
	}
	return r, nil
}

func (r *room) path(name string) string { return filepath.Join(r.dir, name) }

// leave removes the directory and unlocks the mark, which stays for a while:
// the answer may be lost on its way to the record.
func (r *room) leave() {
	_ = os.RemoveAll(r.dir) // what is left over is tidied later
	_ = r.mark.Close()
}

// put writes an input file, under a name of our own, and returns its path.
func (r *room) put(name, mediaType string, data []byte) (string, error) {
	path := filepath.Join(r.path("input"), name+extension(mediaType))
	return path, os.WriteFile(path, data, 0o600)
}

// extension is the usual one of a media type: programs go by it.
func extension(mediaType string) string {
	for _, usual := range []string{".png", ".jpg", ".webp", ".gif", ".mp4", ".webm", ".mp3", ".wav", ".ogg", ".flac", ".txt"} {
		if known, _, _ := strings.Cut(mime.TypeByExtension(usual), ";"); known == mediaType {
			return usual
		}
	}
	switch mediaType { // where the system has no table
	case "image/png":
		return ".png"
	case "image/jpeg":
		return ".jpg"
	case "audio/mpeg":
		return ".mp3"
	case "audio/wave", "audio/wav":
		return ".wav"
	case "video/mp4":
		return ".mp4"
	}
	return ""
}

// files writes the input's files and sets their paths.
func (one *run) files(values map[string]string) error {
	for _, declared := range one.command.config.Input {
		if _, given := one.req.Input[declared.Name]; !given || declared.Type != providers.TypeFile {
			continue
		}
		found, err := one.req.Attachments(declared.Name)
		if err != nil {
			return err
		}
		file := found[0] // the check allows one
		if file.URL != "" {
			return one.provider.invalid("/input_data/"+declared.Name, "must be a file that comes along: a program cannot fetch it")
		}
		sniffed, _, _ := mime.ParseMediaType(http.DetectContentType(file.Data))
		if !declared.Accepts(sniffed) {
			return one.provider.invalid("/input_data/"+declared.Name, "is not a file of a kind that is taken here")
		}
		path, err := one.room.put(declared.Name, sniffed, file.Data)
		if err != nil {
			return one.provider.notRun("an input file cannot be written", err)
		}
		values[declared.Name] = path
	}
	return nil
}

func lock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

const (
	keepMarks = 24 * time.Hour
	tidyEvery = 10 * time.Minute
)

// tidy removes, now and then, the marks of runs that are long over, and what a
// killed worker has left of them.
func (p *Provider) tidy(now time.Time) {
	p.tidied.Lock()
	defer p.tidied.Unlock()
	if now.Before(p.tidyDue) {
		return
	}
	p.tidyDue = now.Add(tidyEvery)
	marks, _ := os.ReadDir(filepath.Join(p.root, "runs")) // there may be none yet
	for _, mark := range marks {
		info, err := mark.Info()
		if err == nil && now.Sub(info.ModTime()) > keepMarks {
			_ = p.forget(mark.Name()) // one that is locked, or gone already, is nothing to forget
		}
	}
}

// forget removes a run that is over.
func (p *Provider) forget(id string) error {
	mark, err := os.OpenFile(p.markPath(id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = mark.Close() }() // only read
	if err := lock(mark); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(p.workPath(id)), os.Remove(p.markPath(id)))
}

// stillOn reports whether a run that was here is not over.
func (p *Provider) stillOn(mark *os.File, id string) (bool, error) {
	switch err := lock(mark); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("lock the mark of a run: %w", err)
	}
	// A process may have closed what it inherited.
	return len(processesOf(p.workPath(id))) > 0, nil
}
