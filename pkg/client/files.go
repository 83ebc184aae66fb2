package client

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
)

// File is a file of an input or a result: its bytes, or where they are. Written
// as JSON it is what every provider takes, a URL or a data URL, so that it may
// stand anywhere in InputData.
type File struct {
	Data []byte
	// MediaType says what Data is; found out from the bytes when empty.
	MediaType string
	// URL is where the file is, if Data is empty.
	URL string
}

// FileURL is the file at a URL.
func FileURL(url string) *File { return &File{URL: url} }

// FileData is a file of these bytes.
func FileData(data []byte) *File { return &File{Data: data} }

// mediaType is what the file says it is, or looks like.
func (f File) mediaType() string {
	if f.MediaType != "" {
		return f.MediaType
	}
	return http.DetectContentType(f.Data)
}

// MarshalJSON writes the URL, or the bytes as a data URL.
func (f File) MarshalJSON() ([]byte, error) {
	switch {
	case len(f.Data) > 0 && f.URL != "":
		return nil, errors.New("a file has either Data or a URL")
	case f.URL != "":
		return json.Marshal(f.URL)
	case len(f.Data) > 0:
		return json.Marshal("data:" + f.mediaType() + ";base64," + base64.StdEncoding.EncodeToString(f.Data))
	default:
		return nil, errors.New("a file has neither Data nor a URL")
	}
}
