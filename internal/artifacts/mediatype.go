package artifacts

import (
	"mime"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"github.com/easel-jobs/easel/pkg/classify"
)

const (
	octetStream = "application/octet-stream"
	plainText   = "text/plain"
)

// names are ours where the sniffer has another one: the registered name, or the
// one that browsers play.
var names = map[string]string{
	"image/vnd.mozilla.apng": "image/png", // a PNG to whoever cannot animate it
	"audio/x-m4a":            "audio/mp4",
	"audio/x-wav":            "audio/wav",
	"audio/wave":             "audio/wav",
	"audio/x-flac":           "audio/flac",
	"audio/mp3":              "audio/mpeg",
	"video/x-m4v":            "video/mp4",
	"application/ogg":        "audio/ogg",
	"text/xml":               "application/xml",
}

// extensions are those that people expect; the sniffer knows the others.
var extensions = map[string]string{
	"image/png":        ".png",
	"image/jpeg":       ".jpg",
	"image/webp":       ".webp",
	"image/gif":        ".gif",
	"image/avif":       ".avif",
	"image/svg+xml":    ".svg",
	"video/mp4":        ".mp4",
	"video/webm":       ".webm",
	"audio/wav":        ".wav",
	"audio/mpeg":       ".mp3",
	"audio/ogg":        ".ogg",
	"audio/flac":       ".flac",
	"audio/mp4":        ".m4a",
	"application/json": ".json",
	"application/pdf":  ".pdf",
	"application/zip":  ".zip",
	"text/plain":       ".txt",
	"text/html":        ".html",
}

// Extension is the file name extension for a media type, with its dot; ".bin"
// for those that nobody knows.
func Extension(mediaType string) string {
	if extension, ok := extensions[mediaType]; ok {
		return extension
	}
	if known := mimetype.Lookup(mediaType); known != nil && known.Extension() != "" {
		return known.Extension()
	}
	return ".bin"
}

// mediaTypeOf says what a file that begins with head is. The sniffed type wins.
// A claim counts only where there is nothing to recognize the type by, such as
// raw samples: the sniffer would have found what it knows.
//
// A page or a message where a picture, a video or a sound was claimed is an
// error's text that was served as a file, and refused.
func mediaTypeOf(head []byte, claimed string) (string, error) {
	claimed = bare(claimed)
	sniffed := bare(mimetype.Detect(head).String())
	if isMedia(claimed) && isWords(sniffed) {
		return "", &classify.Error{
			Class: classify.GenerationFailed, Code: CodeNotMedia,
			Message: "file was said to be " + major(claimed) + ", but is " + sniffed,
		}
	}
	unrecognized := sniffed == octetStream || (sniffed == plainText && strings.HasPrefix(claimed, "text/"))
	if unrecognized && claimed != "" && mimetype.Lookup(claimed) == nil {
		return claimed, nil
	}
	return sniffed, nil
}

// bare is a media type without parameters, in lower case and by the name that we
// use, empty when it is not one.
func bare(mediaType string) string {
	parsed, _, err := mime.ParseMediaType(mediaType)
	if err != nil || !strings.Contains(parsed, "/") {
		return ""
	}
	if name, ok := names[parsed]; ok {
		return name
	}
	return parsed
}

func major(mediaType string) string {
	before, _, _ := strings.Cut(mediaType, "/")
	return before
}

func isMedia(mediaType string) bool {
	switch major(mediaType) {
	case "image", "video", "audio":
		return true
	}
	return false
}

// isWords reports whether the file is something to read. SVG is a picture.
func isWords(mediaType string) bool {
	switch mediaType {
	case "application/json", "application/xml", "application/xhtml+xml", "application/x-ndjson":
		return true
	}
	return major(mediaType) == "text"
}

// kindOf is image, video, audio or file. Where the file does not tell, its claim
// does.
func kindOf(mediaType, claimed string) string {
	if mediaType == octetStream {
		mediaType = bare(claimed)
	}
	if isMedia(mediaType) {
		return major(mediaType)
	}
	return "file"
}
