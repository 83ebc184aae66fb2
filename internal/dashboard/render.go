package dashboard

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/tasks"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// pages are the parsed templates, one per page, each with the layout.
type pages struct {
	byName map[string]*template.Template
}

func newPages(now func() time.Time) (*pages, error) {
	p := &pages{byName: map[string]*template.Template{}}
	for _, name := range []string{"login", "overview", "jobs", "job", "problem"} {
		page, err := template.New("layout.html").Funcs(words(now)).
			ParseFS(templateFiles, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("page %s: %w", name, err)
		}
		p.byName[name] = page
	}
	return p, nil
}

// view is what the layout gets: the frame, and the page in it.
type view struct {
	Title    string
	Name     string // of the page; marks its link in the navigation
	SignedIn bool
	Operator string
	Page     any
}

// render writes a page. It is made in memory first, so that a failure in the
// middle becomes a clean error.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, name, title string, page any) {
	var html bytes.Buffer
	v := view{Title: title, Name: name, SignedIn: s.sessions != nil && name != "login", Operator: s.Username, Page: page}
	if err := s.pages.byName[name].Execute(&html, v); err != nil {
		s.Logger.Error("dashboard page", zap.String("page", name), zap.Error(err))
		http.Error(w, "This page could not be made. The log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = html.WriteTo(w)
	}
}

// problemPage is what stands where a page cannot.
type problemPage struct{ Title, Text string }

func (s *server) showProblem(w http.ResponseWriter, r *http.Request, status int, text string) {
	title := http.StatusText(status)
	s.render(w, r, status, "problem", title, problemPage{title, text})
}

func (s *server) showMissing(w http.ResponseWriter, r *http.Request) {
	s.showProblem(w, r, http.StatusNotFound, "There is nothing at this address.")
}

// assets serves style sheets, scripts, the font and the icons.
func assets() http.Handler {
	files := http.FileServerFS(assetFiles)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r) // no listings
			return
		}
		w.Header().Set("Cache-Control", "private, max-age=300")
		if strings.HasSuffix(r.URL.Path, ".woff2") {
			w.Header().Set("Content-Type", "font/woff2")
		}
		files.ServeHTTP(w, r)
	})
}

func favicon(w http.ResponseWriter, _ *http.Request) {
	icon, err := fs.ReadFile(assetFiles, "assets/easel.svg")
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "private, max-age=86400")
	_, _ = w.Write(icon)
}

// words are the functions that templates use to put things into words.
func words(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"ago":          func(t time.Time) string { return ago(t, now()) },
		"stamp":        func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"machine":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"duration":     duration,
		"number":       number,
		"size":         size,
		"words":        func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
		"percent":      func(p *float64) string { return fmt.Sprintf("%.0f", min(max(*p, 0), 100)) },
		"short":        short,
		"milliseconds": func(n int64) time.Duration { return time.Duration(n) * time.Millisecond },
		"thumb":        func(j *tasks.Job, a tasks.Artifact) thumbnail { return thumbnail{j.ID, a.Index, a.Kind} },
		"status":       func(j *tasks.Job) tasks.Status { return j.State.Status() },
	}
}

// thumbnail is an artifact in the list of jobs.
type thumbnail struct {
	JobID string
	Index int
	Kind  string
}

// ago says how long before now t was, or how long after, in one unit.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "–"
	case d < -time.Second:
		return "in " + duration(max(-d.Round(time.Second), time.Second))
	case d < 2*time.Second:
		return "just now"
	default:
		return duration(d.Round(time.Second)) + " ago"
	}
}

// duration says how long d is, in the one or two units that matter.
func duration(d time.Duration) string {
	switch {
	case d <= 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < 10*time.Second && d%time.Second != 0:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return two(d, time.Minute, "min", time.Second, "s")
	case d < 48*time.Hour:
		return two(d, time.Hour, "h", time.Minute, "min")
	default:
		return two(d, 24*time.Hour, "d", time.Hour, "h")
	}
}

// two writes d in a large unit and what remains of it in a small one; the small
// one is left out when the large one says enough.
func two(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 && d/large < 10 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// number writes n with a thin space between its thousands.
func number(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

// size writes a number of bytes.
func size(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/1000, unit+1
	}
	if unit == 0 || value >= 100 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// short keeps the end of a long identifier, which is where identifiers that
// carry a time differ.
func short(id string) string {
	if len(id) <= 16 {
		return id
	}
	return id[:4] + "…" + id[len(id)-8:]
}
