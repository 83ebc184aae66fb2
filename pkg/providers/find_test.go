package providers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	client, err := NewClient(ClientConfig{Provider: "lumen", BaseURL: "https://lumen.example"})
	require.NoError(t, err)
	sentAt := time.Unix(1_800_000_000, 0)
	sent := values{"prompt": "a fox ", "seed": 7.0, "loop": true, "image": "data:image/png;base64,AAAA", "style": "oil"}
	at := func(id string, after time.Duration, input values) Listed {
		return Listed{ID: id, Created: sentAt.Add(after), Input: input}
	}
	mine := values{"prompt": "a fox", "seed": 7.0, "loop": true, "image": "https://cdn/x.png", "steps": 28.0}
	tests := map[string]struct {
		list   []Listed
		whole  bool
		want   string
		absent bool
	}{
		"there":                 {[]Listed{at("a", 0, values{"prompt": "a dog"}), at("b", time.Second, mine)}, true, "b", false},
		"there, in part":        {[]Listed{at("b", time.Second, mine)}, false, "b", false},
		"twice on two pages":    {[]Listed{at("b", 0, mine), at("b", 0, mine)}, true, "b", false},
		"our clock is ahead":    {[]Listed{at("b", -clockSkew, mine)}, true, "b", false},
		"two":                   {[]Listed{at("b", 0, mine), at("c", 0, mine)}, true, "", false},
		"too early":             {[]Listed{at("b", -clockSkew-time.Second, mine)}, true, "", true},
		"too late":              {[]Listed{at("b", findSpan+time.Second, mine)}, true, "", true},
		"none":                  {nil, true, "", true},
		"none, but not all":     {nil, false, "", false},
		"another seed":          {[]Listed{at("b", 0, values{"prompt": "a fox", "seed": 8.0})}, true, "", true},
		"a switch":              {[]Listed{at("b", 0, values{"prompt": "a fox", "loop": false})}, true, "", true},
		"one that cannot be":    {[]Listed{at("b", 0, nil)}, true, "", false},
		"one that cannot, once": {[]Listed{at("b", -time.Hour, nil)}, true, "", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := client.Match(Lost{SentAt: sentAt}, sent, tt.list, tt.whole)
			require.Equal(t, tt.want, id)
			switch {
			case tt.want != "":
				require.NoError(t, err)
			case tt.absent:
				require.ErrorIs(t, err, ErrAbsent)
			default:
				require.Error(t, err)
				require.NotErrorIs(t, err, ErrAbsent)
			}
		})
	}
}

func TestClassInText(t *testing.T) {
	t.Parallel()
	phrases := []Phrase{{"nsfw", classify.ContentPolicy}, {"interrupted", classify.Server}}
	require.Equal(t, classify.ContentPolicy, ClassInText("NSFW content detected", phrases))
	require.Equal(t, classify.Server, ClassInText("was interrupted (code: PA)", phrases))
	require.Empty(t, ClassInText("out of paint", phrases))
}
