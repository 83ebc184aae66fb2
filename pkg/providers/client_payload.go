package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Payload is the body of a request. The bytes it was made of are not copied.
type Payload struct {
	contentType string
	segments    [][]byte
	fields      []string // texts that must not show up in messages
}

// JSONPayload encodes v.
func JSONPayload(v any) (*Payload, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		// The error of a marshaller may quote what it could not encode.
		return nil, errors.New("the input cannot be encoded as JSON")
	}
	return BytesPayload("application/json", raw), nil
}

// BytesPayload sends the bytes as they are.
func BytesPayload(contentType string, data []byte) *Payload {
	return &Payload{contentType: contentType, segments: [][]byte{data}}
}

func (p *Payload) length() int64 {
	var n int64
	for _, segment := range p.segments {
		n += int64(len(segment))
	}
	return n
}

func (p *Payload) reader() io.Reader {
	readers := make([]io.Reader, len(p.segments))
	for i, segment := range p.segments {
		readers[i] = bytes.NewReader(segment)
	}
	return io.MultiReader(readers...)
}

// attach makes the payload the request's body, behind the gate. GetBody stays
// nil, and with it the transport's ways to send a request a second time.
func (p *Payload) attach(req *http.Request, g *gate) {
	if p == nil {
		if g.guarded {
			// A body of no bytes, so that the transport passes the gate.
			req.Body = io.NopCloser(&gatedReader{Reader: strings.NewReader(""), gate: g})
		}
		return
	}
	req.Body = io.NopCloser(&gatedReader{Reader: p.reader(), gate: g})
	req.ContentLength = p.length()
}

// texts lists the longer strings of the payload: prompts, which a provider may
// quote in an error and which must not end up in a log.
func (p *Payload) texts() []string {
	if p == nil {
		return nil
	}
	texts := slices.Clone(p.fields)
	var decoded any
	if p.contentType == "application/json" && json.Unmarshal(p.segments[0], &decoded) == nil {
		texts = collectTexts(texts, decoded)
	}
	return texts
}

func collectTexts(texts []string, v any) []string {
	switch v := v.(type) {
	case string:
		texts = append(texts, v)
	case []any:
		for _, item := range v {
			texts = collectTexts(texts, item)
		}
	case map[string]any:
		for _, item := range v {
			texts = collectTexts(texts, item)
		}
	}
	return texts
}

// Form builds a multipart/form-data payload (RFC 7578). The zero Form is empty
// and ready.
type Form struct {
	payload Payload
	buffer  bytes.Buffer
	writer  *multipart.Writer
}

// Field adds a text.
func (f *Form) Field(name, value string) {
	// Writing to a buffer does not fail.
	part, _ := f.multipart().CreateFormField(name)
	_, _ = io.WriteString(part, value)
	f.payload.fields = append(f.payload.fields, value)
}

// File adds a file; the data is not copied.
func (f *Form) File(name, filename, mediaType string, data []byte) {
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", fmt.Sprintf(`form-data; name="%s"; filename="%s"`, quoted(name), quoted(filename)))
	header.Set("Content-Type", mediaType)
	_, _ = f.multipart().CreatePart(header)
	f.cut()
	f.payload.segments = append(f.payload.segments, data)
}

// Payload closes the form.
func (f *Form) Payload() *Payload {
	_ = f.multipart().Close()
	f.cut()
	f.payload.contentType = f.writer.FormDataContentType()
	return &f.payload
}

func (f *Form) multipart() *multipart.Writer {
	if f.writer == nil {
		f.writer = multipart.NewWriter(&f.buffer)
	}
	return f.writer
}

// cut ends the segment that was written to the buffer so far.
func (f *Form) cut() {
	f.payload.segments = append(f.payload.segments, bytes.Clone(f.buffer.Bytes()))
	f.buffer.Reset()
}

var quoted = strings.NewReplacer(`\`, `\\`, `"`, "%22", "\r", "%0D", "\n", "%0A").Replace
