package openai

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// states says what each state of a video means to us, with those of servers
// that copy the API.
var states = map[string]providers.State{
	"queued":      providers.Queued,
	"in_progress": providers.Running,
	"processing":  providers.Running,
	"completed":   providers.Succeeded,
	"succeeded":   providers.Succeeded,
	"failed":      providers.Failed,
}

// startVideo sends a picture along as a form, and JSON otherwise.
func (p *Provider) startVideo(ctx context.Context, req providers.Request) (providers.Status, error) {
	body := p.videoBody(req)
	call := providers.Call{URL: "/videos", Submit: true}
	var in any = body
	if req.Feature == tasks.ImageToVideo {
		pictures, err := req.Attachments("image")
		if err != nil {
			return providers.Status{}, err
		}
		if byURL(pictures) {
			body["input_reference"] = references(pictures)[0]
		} else {
			form := formOf(body)
			pictures[0].AddTo(form, "input_reference", "image")
			call.Payload, in = form.Payload(), nil
		}
	}
	var v video
	reply, err := p.client.JSON(ctx, call, in, &v)
	if err != nil {
		return providers.Status{}, err
	}
	return p.videoStatus(v, reply.Header, true)
}

func (p *Provider) videoBody(req providers.Request) map[string]any {
	body := p.passOn(req)
	if seconds, ok := body["seconds"].(float64); ok {
		body["seconds"] = strconv.FormatFloat(seconds, 'f', -1, 64)
	}
	if ratio, ok := body["aspect_ratio"].(string); ok {
		body["size"] = videoSizes[ratio]
		delete(body, "aspect_ratio")
	}
	return body
}

func (p *Provider) pollVideo(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	var v video
	reply, err := p.client.JSON(ctx, providers.Call{URL: videoPath(ref.RemoteID)}, nil, &v)
	if err != nil {
		return providers.Status{}, err
	}
	return p.videoStatus(v, reply.Header, false)
}

func videoPath(id string) string { return "/videos/" + url.PathEscape(id) }

func (p *Provider) videoStatus(v video, header http.Header, submitted bool) (providers.Status, error) {
	state, known := states[v.Status]
	if v.ID == "" || !known {
		return providers.Status{}, p.client.Strange(submitted, "the video has no id, or a state that is not known")
	}
	st := providers.Status{State: state, RemoteID: v.ID, PollAfter: pollAfter(header)}
	switch state {
	case providers.Running:
		if v.Progress != nil && *v.Progress >= 0 && *v.Progress <= 100 {
			st.Percent = v.Progress
		}
	case providers.Succeeded:
		st.Outputs = []providers.Output{{
			Kind: "video", MediaType: "video/mp4", Name: v.ID + ".mp4",
			URL: strings.TrimSuffix(p.config.BaseURL, "/") + videoPath(v.ID) + "/content",
		}}
		st.Data = v.details()
	case providers.Failed:
		st.Failure = p.client.Failed("", "")
		if v.Error != nil {
			st.Failure = p.client.Failed(string(v.Error.Code), v.Error.Message)
		}
	}
	return st, nil
}

func (v video) details() map[string]any {
	details := map[string]any{}
	for key, value := range map[string]loose{"size": v.Size, "seconds": v.Seconds} {
		if value != "" {
			details[key] = string(value)
		}
	}
	return details
}

// pollAfter is the wait that the provider asks for between polls.
func pollAfter(header http.Header) time.Duration {
	ms, err := strconv.Atoi(header.Get("Openai-Poll-After-Ms"))
	if err != nil || ms <= 0 {
		return 0
	}
	return min(time.Duration(ms)*time.Millisecond, time.Minute)
}

const (
	listSize  = 100
	listPages = 50
)

// Find implements [providers.Finder]. A video carries no mark of ours, so it is
// known by what was asked for and when. Where several fit nobody can tell them
// apart, and the answer stays open.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	req := lost.Request
	if req.Feature != tasks.TextToVideo && req.Feature != tasks.ImageToVideo {
		return providers.Status{}, fmt.Errorf("%s leaves no trace to look up: %w", req.Feature, errors.ErrUnsupported)
	}
	list, header, err := p.listSince(ctx, lost.FindSince())
	if classify.Classify(err).Status == http.StatusNotFound || classify.Classify(err).Status == http.StatusMethodNotAllowed {
		return providers.Status{}, fmt.Errorf("the server has no list: %w", errors.Join(errors.ErrUnsupported, err))
	}
	if err != nil {
		return providers.Status{}, err
	}
	found, err := p.match(*list.Data, !list.HasMore, lost)
	if err != nil {
		return providers.Status{}, err
	}
	return p.videoStatus(found, header, false)
}

// listSince lists the videos, newest first, page by page until they are older
// than the time given. HasMore says that it stopped before. A busy account makes
// more videos than one page holds in the second before a lost one is looked for.
func (p *Provider) listSince(ctx context.Context, since time.Time) (videoList, http.Header, error) {
	all := videoList{Data: &[]video{}}
	query := url.Values{"limit": {strconv.Itoa(listSize)}, "order": {"desc"}}
	for page := 1; ; page++ {
		var list videoList
		reply, err := p.client.JSON(ctx, providers.Call{URL: "/videos", Query: query}, nil, &list)
		if err != nil {
			return videoList{}, nil, err
		}
		if list.Data == nil {
			return videoList{}, nil, p.client.Strange(false, "the answer has no list")
		}
		*all.Data = append(*all.Data, *list.Data...)
		all.HasMore = list.HasMore
		if !list.HasMore || len(*list.Data) == 0 || page == listPages {
			return all, reply.Header, nil
		}
		last := (*list.Data)[len(*list.Data)-1]
		if time.Unix(int64(last.CreatedAt), 0).Before(since) || last.ID == query.Get("after") {
			return all, reply.Header, nil // old enough, or the server has no pages
		}
		query.Set("after", last.ID)
	}
}

// match picks the one video that the submission can have become.
func (p *Provider) match(list []video, whole bool, lost providers.Lost) (video, error) {
	sent := p.videoBody(p.withModel(lost.Request))
	model, _ := sent["model"].(string)
	delete(sent, "model")
	var listed []providers.Listed
	for _, v := range list {
		created := time.Unix(int64(v.CreatedAt), 0)
		whole = whole || created.Before(lost.FindSince())
		// The list names a dated release where the request named a family.
		if strings.HasPrefix(v.Model, model) {
			listed = append(listed, providers.Listed{ID: v.ID, Created: created, Input: v.input()})
		}
	}
	id, err := p.client.Match(lost, sent, listed, whole)
	if err != nil {
		return video{}, err
	}
	return list[slices.IndexFunc(list, func(v video) bool { return v.ID == id })], nil
}

// input is what was asked for, nil where the list does not say.
func (v video) input() map[string]any {
	if v.Prompt == nil {
		return nil
	}
	input := map[string]any{"prompt": *v.Prompt}
	maps.Copy(input, v.details())
	return input
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return time.Minute }
