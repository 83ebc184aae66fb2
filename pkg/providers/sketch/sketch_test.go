package sketch_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// photo is an input picture: a red disc on white.
func photo(t *testing.T) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 96, 80))
	for y := range 80 {
		for x := range 96 {
			m.Set(x, y, color.White)
			if (x-48)*(x-48)+(y-40)*(y-40) < 24*24 {
				m.Set(x, y, color.RGBA{R: 200, G: 30, B: 40, A: 255})
			}
		}
	}
	var raw bytes.Buffer
	require.NoError(t, png.Encode(&raw, m))
	return raw.Bytes()
}

// Every feature, from the submission to the bytes.
func TestFeatures(t *testing.T) {
	t.Parallel()
	p := local(t, func(c *sketch.Config) { c.Mode = sketch.ModeSync })
	given := map[string]any{"$file": 0}
	tests := []struct {
		feature tasks.Feature
		input   map[string]any
		kind    string
		check   func(*testing.T, []byte)
	}{
		{tasks.TextToImage, map[string]any{"prompt": "hills", "size": "128x96"}, "image", isPNG(128, 96)},
		{tasks.ImageToImage, map[string]any{"prompt": "autumn", "image": given}, "image", isPNG(96, 80)},
		{tasks.Upscale, map[string]any{"image": given, "factor": 4}, "image", isPNG(384, 320)},
		{tasks.RemoveBackground, map[string]any{"image": given}, "image", hasCutout},
		{tasks.TextToVideo, map[string]any{"prompt": "waves", "size": "96x64", "duration": 1}, "video", isGIF(96, 64)},
		{tasks.ImageToVideo, map[string]any{"image": given, "size": "96x64", "duration": 1}, "video", isGIF(96, 64)},
		{tasks.TextToSpeech, map[string]any{"text": "Hello there."}, "audio", isWAV},
		{tasks.TextToSpeech, map[string]any{"prompt": "Hello there."}, "audio", isWAV},
		{tasks.TextToAudio, map[string]any{"prompt": "rain", "duration": 2}, "audio", isWAV},
	}
	for _, test := range tests {
		t.Run(string(test.feature), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, p.(providers.InputChecker).CheckInput(test.feature, "", test.input))
			test.input["simulate"] = map[string]any{"duration_ms": 0}
			st, err := p.Submit(t.Context(), providers.Request{
				JobID: "job", ClientID: "job-1", Feature: test.feature, Input: test.input,
				Files: []providers.File{{Pointer: "/image", MediaType: "image/png", Data: photo(t)}},
			})
			require.NoError(t, err)
			require.Equal(t, providers.Succeeded, st.State)
			require.Len(t, st.Outputs, 1)
			require.Equal(t, test.kind, st.Outputs[0].Kind)
			test.check(t, st.Outputs[0].Data)
		})
	}
}

func isPNG(w, h int) func(*testing.T, []byte) {
	return func(t *testing.T, data []byte) {
		m, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, image.Pt(w, h), m.Bounds().Size())
	}
}

func hasCutout(t *testing.T, data []byte) {
	m, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	_, _, _, corner := m.At(2, 2).RGBA()
	_, _, _, middle := m.At(48, 40).RGBA()
	require.Zero(t, corner, "the background is gone")
	require.EqualValues(t, 0xffff, middle, "the subject is there")
}

func isGIF(w, h int) func(*testing.T, []byte) {
	return func(t *testing.T, data []byte) {
		g, err := gif.DecodeAll(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, image.Pt(w, h), image.Pt(g.Config.Width, g.Config.Height))
		require.GreaterOrEqual(t, len(g.Image), 12)
	}
}

func isWAV(t *testing.T, data []byte) {
	require.Equal(t, "RIFF", string(data[:4]))
	require.Equal(t, "WAVE", string(data[8:12]))
}

func TestSeveralPicturesDiffer(t *testing.T) {
	t.Parallel()
	p := local(t)
	st, err := p.Submit(t.Context(), providers.Request{Feature: tasks.TextToImage, Input: map[string]any{
		"prompt": "x", "n": 3, "size": "64x64", "format": "jpeg", "simulate": map[string]any{"duration_ms": 0, "sync": true},
	}})
	require.NoError(t, err)
	require.Len(t, st.Outputs, 3)
	seen := map[string]bool{}
	for i, out := range st.Outputs {
		require.Equal(t, "image/jpeg", out.MediaType)
		require.Equal(t, fmt.Sprintf("image-%d.jpg", i), out.Name)
		seen[string(out.Data)] = true
	}
	require.Len(t, seen, 3)
}

func TestNoop(t *testing.T) {
	t.Parallel()
	req := providers.Request{JobID: "j", ClientID: "j-1", Feature: tasks.TextToImage, Model: sketch.ModelNoop, Input: map[string]any{"prompt": "x"}}
	st, err := local(t).Submit(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, providers.Succeeded, st.State)
	isPNG(1, 1)(t, st.Outputs[0].Data)

	waiting := local(t, func(c *sketch.Config) { c.MinDuration = 3600_000 })
	st, err = waiting.Submit(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, providers.Queued, st.State, "durations that are configured hold for it too")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	open := func(options map[string]any) (providers.Provider, error) {
		return sketch.Open(providers.Settings{Name: "sketch", Options: options, DataDir: t.TempDir()})
	}
	p, err := open(nil)
	require.NoError(t, err)
	require.Implements(t, (*providers.Finder)(nil), p)
	c := p.Capabilities()
	require.True(t, c.Demo)
	require.False(t, c.Synchronous)
	require.NoError(t, p.(io.Closer).Close())

	p, err = open(map[string]any{"lookup": false, "mode": "sync", "min_duration_ms": 5, "max_duration_ms": 10, "webhook_secret": "s"})
	require.NoError(t, err)
	_, finds := p.(providers.Finder)
	require.False(t, finds, "without lookup there is nothing to find with")
	require.True(t, p.Capabilities().Synchronous)
	require.NoError(t, p.(io.Closer).Close())

	for name, options := range map[string]map[string]any{
		"mode":     {"mode": "sometimes"},
		"duration": {"min_duration_ms": 10, "max_duration_ms": 5},
		"unknown":  {"colour": "red"},
		"kind":     {"lookup": "yes"},
	} {
		_, err := open(options)
		require.Error(t, err, name)
	}
}

// The whole way at its own pace: queued, running with progress, done, fetched.
func TestAtItsOwnPace(t *testing.T) {
	t.Parallel()
	clock := newClock()
	p := local(t, func(c *sketch.Config) { c.Now, c.Dir = clock.Now, t.TempDir() })
	req := providers.Request{JobID: "j", ClientID: "j-1", Feature: tasks.TextToImage, Input: map[string]any{"prompt": "x", "size": "64x64"}}
	st, err := p.Submit(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, providers.Queued, st.State)
	require.NotNil(t, st.QueuePosition)
	ref := providers.Ref{RemoteID: st.RemoteID}
	took := time.Duration(0)
	for st.State != providers.Succeeded {
		clock.advance(100 * time.Millisecond)
		took += 100 * time.Millisecond
		require.Less(t, took, 3*time.Second)
		st, err = p.Poll(t.Context(), ref)
		require.NoError(t, err)
		require.NotNil(t, st.Percent)
	}
	require.GreaterOrEqual(t, took, time.Second, "pictures take one to two seconds")
	body, err := p.(providers.Downloader).Download(t.Context(), ref, st.Outputs[0])
	require.NoError(t, err)
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	isPNG(64, 64)(t, data)
	require.NoError(t, p.(providers.Canceler).Cancel(t.Context(), ref), "of what has ended")
	require.NoError(t, p.(providers.Canceler).Cancel(t.Context(), providers.Ref{RemoteID: "sk_0123456789abcdef_0123456789abcdef"}), "of what is unknown")

	_, err = p.Poll(t.Context(), providers.Ref{RemoteID: "sk_0123456789abcdef_0123456789abcdef"})
	require.Equal(t, classify.NotFound, classOf(err))
	_, err = p.(providers.Finder).Find(t.Context(), providers.Lost{Request: providers.Request{ClientID: "another"}})
	require.ErrorIs(t, err, providers.ErrAbsent)
}

func TestRemoteIDs(t *testing.T) {
	t.Parallel()
	checker := local(t).(providers.RemoteIDChecker)
	require.True(t, checker.ValidRemoteID("sk_0123456789abcdef_0123456789abcdef"))
	for _, id := range []string{"", "sk_", "sk_0123456789abcdef_0123456789abcdef/../x", "SK_0123456789abcdef_0123456789abcdef", "sk_0123456789abcdef_0123456789abcdef\n"} {
		require.False(t, checker.ValidRemoteID(id), "%q", id)
	}
}
