package command

import (
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
)

// collect reads what a program has left, in the order of the names. The
// program is over, but what it left is not trusted: links, devices and pipes
// are refused, and nothing outside the directory can be reached.
func collect(dir string, most int, mostBytes int64) (outputs []providers.Output, refused string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, "the program has taken its directory away"
	}
	defer func() { _ = root.Close() }() // only read
	left := mostBytes
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		switch {
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return refusal("the program has left a link or a device")
		case links(info) > 1:
			return refusal("the program has left a file that has another name elsewhere")
		case info.Size() == 0:
			return nil
		case len(outputs) == most:
			return refusal(fmt.Sprintf("the program has left more than %d files", most))
		case info.Size() > left:
			return refusal(fmt.Sprintf("the program has left more than %d bytes", mostBytes))
		}
		data, err := readAll(root, name, left)
		if err != nil {
			return err
		}
		left -= int64(len(data))
		outputs = append(outputs, outputOf(name, data))
		return nil
	})
	if wrong, ok := err.(refusal); ok { //nolint:errorlint // WalkDir returns it as it is
		return nil, string(wrong)
	}
	if err != nil {
		return nil, "what the program has left cannot be read"
	}
	return outputs, ""
}

// refusal is why an output is not taken.
type refusal string

func (r refusal) Error() string { return string(r) }

func readAll(root *os.Root, name string, limit int64) ([]byte, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	return io.ReadAll(io.LimitReader(file, limit))
}

// outputOf says what a file is by its content; it is sniffed again where it is
// stored.
func outputOf(name string, data []byte) providers.Output {
	mediaType, _, _ := mime.ParseMediaType(http.DetectContentType(data))
	kind, _, _ := strings.Cut(mediaType, "/")
	if kind != "image" && kind != "video" && kind != "audio" {
		kind = "file"
	}
	return providers.Output{Kind: kind, MediaType: mediaType, Data: data, Name: path.Base(name)}
}
