package openai

import "encoding/json"

// imagesReply is what the image endpoints answer.
type imagesReply struct {
	Data         *[]image        `json:"data"`
	OutputFormat loose           `json:"output_format"`
	Size         loose           `json:"size"`
	Quality      loose           `json:"quality"`
	Background   loose           `json:"background"`
	Usage        json.RawMessage `json:"usage"`
}

type image struct {
	Base64        string `json:"b64_json"`
	URL           string `json:"url"`
	RevisedPrompt string `json:"revised_prompt"`
}

// video is a generation at /videos.
type video struct {
	ID        string   `json:"id"`
	Model     string   `json:"model"`
	Status    string   `json:"status"`
	Progress  *float64 `json:"progress"`
	CreatedAt float64  `json:"created_at"` // Unix seconds
	Prompt    *string  `json:"prompt"`
	Size      loose    `json:"size"`
	Seconds   loose    `json:"seconds"`
	Error     *struct {
		Code    loose  `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// videoList is a page of them, newest first.
type videoList struct {
	Data    *[]video `json:"data"`
	HasMore bool     `json:"has_more"`
}

// loose is a text that some servers write as a number, and that is not worth
// losing a paid answer for.
type loose string

// UnmarshalJSON takes any scalar.
func (l *loose) UnmarshalJSON(raw []byte) error {
	var text string
	switch {
	case json.Unmarshal(raw, &text) == nil: // null is empty
		*l = loose(text)
	case len(raw) > 0 && raw[0] != '{' && raw[0] != '[':
		*l = loose(raw)
	}
	return nil
}
