package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// demoServer stands in for an Easel server in the examples.
func demoServer() *httptest.Server {
	job := func(version int, status string, percent int) string {
		return fmt.Sprintf(`{"id":"job_1","version":%d,"status":%q,"progress":{"percent":%d},`+
			`"result":{"artifacts":[{"index":0,"media_type":"image/png"}]}}`, version, status, percent)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/jobs", func(w http.ResponseWriter, r *http.Request) {
		var draft tasks.Draft
		if json.NewDecoder(r.Body).Decode(&draft); string(draft.InputData) == "{}" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, `{"code":"invalid_request","errors":[{"pointer":"#/input_data/prompt","detail":"is required"}]}`)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, job(1, "queued", 0))
	})
	mux.HandleFunc("GET /v1/jobs/job_1/events", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "event: job\nid: 2\ndata: %s\n\n", job(2, "processing", 40))
		fmt.Fprintf(w, "event: job\nid: 3\ndata: %s\n\n", job(3, "completed", 100))
	})
	mux.HandleFunc("GET /v1/jobs/job_1/artifacts/0", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = io.WriteString(w, "a picture")
	})
	return httptest.NewServer(mux)
}

// Ask for a picture, wait for it, and read it.
func Example() {
	server := demoServer()
	defer server.Close()
	ctx := context.Background()

	c, err := client.Dial(server.URL, os.Getenv("EASEL_TOKEN"))
	if err != nil {
		panic(err)
	}
	job, err := c.Enqueue(ctx, tasks.Draft{
		FeatureType: tasks.TextToImage,
		InputData:   json.RawMessage(`{"prompt":"a harbour at dawn"}`),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(job.ID, job.Status)

	job, err = c.Wait(ctx, job.ID)
	if err != nil {
		panic(err)
	}
	for _, a := range job.Result.Artifacts {
		file, err := c.OpenArtifact(ctx, job.ID, a.Index)
		if err != nil {
			panic(err)
		}
		raw, err := io.ReadAll(file)
		file.Close()
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, %d bytes\n", file.MediaType, len(raw))
	}
	// Output:
	// job_1 queued
	// image/png, 9 bytes
}

// Show progress while a job runs.
func ExampleClient_Watch() {
	server := demoServer()
	defer server.Close()

	c, err := client.Dial(server.URL, "")
	if err != nil {
		panic(err)
	}
	for job, err := range c.Watch(context.Background(), "job_1") {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s %.0f%%\n", job.Status, *job.Progress.Percent)
	}
	// Output:
	// processing 40%
	// completed 100%
}

// A request that the server refuses says where it is wrong.
func ExampleProblem() {
	server := demoServer()
	defer server.Close()

	c, err := client.Dial(server.URL, "")
	if err != nil {
		panic(err)
	}
	_, err = c.Enqueue(context.Background(), tasks.Draft{
		FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{}`),
	})
	var problem *client.Problem
	if errors.As(err, &problem) {
		for _, fault := range problem.Errors {
			fmt.Println(fault)
		}
	}
	// Output:
	// #/input_data/prompt: is required
}

// Name a request after your own record, so that asking twice is asking once.
func ExampleWithIdempotencyKey() {
	server := demoServer()
	defer server.Close()

	c, err := client.Dial(server.URL, "")
	if err != nil {
		panic(err)
	}
	job, err := c.Enqueue(context.Background(), tasks.Draft{
		FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"a harbour"}`),
	}, client.WithIdempotencyKey("order-42"))
	if err != nil {
		panic(err)
	}
	fmt.Println(job.ID)
	// Output:
	// job_1
}
