package replicate

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// prediction is a generation. Error is a text, or whatever a model has made of
// it; Version is an id or "hidden".
type prediction struct {
	ID          string          `json:"id"`
	Model       string          `json:"model"`
	Version     string          `json:"version"`
	Deployment  string          `json:"deployment"`
	Status      string          `json:"status"`
	Input       map[string]any  `json:"input"`
	Error       json.RawMessage `json:"error"`
	Logs        string          `json:"logs"`
	CreatedAt   time.Time       `json:"created_at"`
	DataRemoved bool            `json:"data_removed"`
	Metrics     struct {
		PredictTime *float64 `json:"predict_time"`
	} `json:"metrics"`

	raw json.RawMessage // the whole of it, where it came in a list
}

// predictionList is a page of them, newest first.
type predictionList struct {
	Next    string             `json:"next"`
	Results *[]json.RawMessage `json:"results"`
}

// of reports whether the prediction is one of the model's.
func (p prediction) of(model string) bool {
	if name, ok := strings.CutPrefix(model, "deployments/"); ok {
		return p.Deployment == "" || p.Deployment == name || strings.HasSuffix(name, "/"+p.Deployment)
	}
	name, version, versioned := strings.Cut(model, ":")
	switch {
	case versioned:
		return p.Version == version || p.Model == name && p.Version == "hidden"
	case !strings.Contains(model, "/"):
		return p.Version == model || p.Version == "hidden"
	}
	return strings.EqualFold(p.Model, model)
}

// progress is how the usual progress bar of Python models looks in their logs.
var progress = regexp.MustCompile(`(?m)(?:^|\r)\s*(\d+)%\s*\|.+?\|\s*\d+/\d+`)

// percent is the last progress that the model has logged, nil where it logs none.
func (p prediction) percent() *float64 {
	all := progress.FindAllStringSubmatch(p.Logs, -1)
	if len(all) == 0 {
		return nil
	}
	percent, err := strconv.ParseFloat(all[len(all)-1][1], 64)
	if err != nil || percent > 100 {
		return nil
	}
	return &percent
}

func (p prediction) details() map[string]any {
	if p.Metrics.PredictTime == nil {
		return nil
	}
	return map[string]any{"predict_seconds": *p.Metrics.PredictTime}
}
