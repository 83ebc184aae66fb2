//go:build !easel_http

package client_test

import (
	"context"
	"fmt"
	"os"

	"github.com/alicebob/miniredis/v2"

	"github.com/easel-jobs/easel/pkg/client"
)

// Connect goes through the Redis of an installation. Here the program brings the
// worker along, and a provider of its own.
func ExampleConnect() {
	redis, err := miniredis.Run() // yours is a real one
	if err != nil {
		panic(err)
	}
	defer redis.Close()
	files, err := os.MkdirTemp("", "easel-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(files)

	c, err := client.Connect(context.Background(), "redis://"+redis.Addr(),
		client.WithDataDir(files), client.WithWorker(), client.WithProvider(poet()))
	if err != nil {
		panic(err)
	}
	defer c.Close()
	result, err := c.Execute(context.Background(), verse("hello"))
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Status, result.ProviderID)
	// Output:
	// completed poet
}

// bySketch asks the provider that draws by rule: it is never chosen beside others.
func bySketch(r *client.Request) { r.ProviderID = "sketch" }

// Features that make images have typed inputs and results.
func ExampleClient_ExecuteImageFeature() {
	c := open()
	defer c.Close()
	ctx := context.Background()

	able, err := c.HasImageFeatureSupport(ctx, client.TextToImage)
	if err != nil || !able {
		panic(err)
	}
	result, err := c.ExecuteImageFeature(ctx, client.TextToImage, client.ImageInput{Prompt: "a red kite", Size: "96x64"}, bySketch)
	if err != nil {
		panic(err)
	}
	picture := result.Images[0]
	fmt.Println(picture.MediaType, picture.Width, picture.Height)
	// Output:
	// image/png 96 64
}

// Films and sounds likewise.
func ExampleClient_ExecuteVideoFeature() {
	c := open()
	defer c.Close()
	ctx := context.Background()

	for _, feature := range []client.FeatureType{client.TextToVideo, client.TextToImage} {
		able, err := c.HasVideoFeatureSupport(ctx, feature)
		fmt.Println(feature, able, err)
	}
	result, err := c.ExecuteVideoFeature(ctx, client.TextToVideo, client.VideoInput{Prompt: "clouds", Size: "64x64", Duration: 1}, bySketch)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(result.Videos), result.Videos[0].MediaType)
	// Output:
	// text-to-video true <nil>
	// text-to-image false <nil>
	// 1 image/gif
}

// One look at a job, whoever has started it.
func ExampleClient_PollJob() {
	c := open()
	defer c.Close()
	ctx := context.Background()

	made, err := c.Execute(ctx, verse("hello"))
	if err != nil {
		panic(err)
	}
	poll, err := c.PollJob(ctx, client.PollJobOptions{JobID: made.JobID})
	if err != nil {
		panic(err)
	}
	fmt.Println(poll.Status, poll.Err, len(poll.Result.Artifacts))
	// Output:
	// completed <nil> 1
}

// What kind of failure an error is, whoever has made it.
func ExampleClassifyError() {
	err := fmt.Errorf("ask the painter: %w", context.DeadlineExceeded)
	fmt.Println(client.ClassifyError(err).Class)
	fmt.Println(client.IsTransientError(err), client.IsPermanentError(err), client.IsUnknownOutcome(err))
	// Output:
	// timeout
	// true false false
}

// The verbs of the HTTP API.
func ExampleClient_List() {
	c := open()
	defer c.Close()
	ctx := context.Background()

	r := verse("hello")
	r.UserID = "ada"
	made, err := c.Execute(ctx, r)
	if err != nil {
		panic(err)
	}
	page, err := c.List(ctx, client.Query{UserID: "ada"})
	if err != nil {
		panic(err)
	}
	job, err := c.Get(ctx, page.Jobs[0].ID)
	if err != nil {
		panic(err)
	}
	_, err = c.Cancel(ctx, made.JobID)
	fmt.Println(len(page.Jobs), job.Status, client.IsConflict(err))
	// Output:
	// 1 completed true
}
