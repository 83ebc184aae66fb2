package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/easel-jobs/easel/pkg/client"
)

// attachment is a file that goes ahead of the request: where it stands in the
// input, and what it is called here.
type attachment struct{ key, path string }

// attach uploads the files of --file and makes them inputs. Everything that is
// wrong with the flags is found before the first of them is sent.
func (p *program) attach(ctx context.Context, input json.RawMessage, pairs []string) (json.RawMessage, error) {
	if len(pairs) == 0 {
		return input, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(input, &members); err != nil {
		return nil, err
	}
	attachments, err := p.attachments(members, pairs)
	if err != nil {
		return nil, err
	}
	for _, a := range attachments {
		file, err := p.upload(ctx, a.path)
		if err != nil {
			return nil, fmt.Errorf("--file %s: %w", printable(a.key), err)
		}
		if members[a.key], err = json.Marshal(client.UploadInput(file.ID)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}

func (p *program) attachments(members map[string]json.RawMessage, pairs []string) ([]attachment, error) {
	list := make([]attachment, 0, len(pairs))
	taken := map[string]bool{}
	for _, pair := range pairs {
		key, path, found := strings.Cut(pair, "=")
		path = strings.TrimPrefix(path, "@")
		if !found || key == "" || path == "" {
			return nil, usageError{fmt.Errorf("--file %q: must be key=@file", printable(key))}
		}
		if _, given := members[key]; given || taken[key] {
			return nil, usageError{fmt.Errorf("--file %s: the input is given twice", printable(key))}
		}
		taken[key] = true
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("is not a file")
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("--file %s: %w", printable(key), err)}
		}
		list = append(list, attachment{key, path})
	}
	return list, nil
}

// upload streams one file, of whatever size, to the server.
func (p *program) upload(ctx context.Context, path string) (*client.UploadedFile, error) {
	url, token := p.server()
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := bufio.NewReaderSize(f, sniffed).Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return client.Upload(ctx, url, token, mediaType(path, head), f)
}

// sniffed is how much of a file tells what it is.
const sniffed = 512
