package openai

import (
	"context"
	"fmt"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func (p *Provider) generateImage(ctx context.Context, req providers.Request) (providers.Status, error) {
	body, warnings := p.imageBody(req)
	return p.image(ctx, "/images/generations", body, nil, warnings)
}

// editImage sends the pictures along as a form, as every server of this kind
// understands it. Only pictures that are named by URL need the JSON variant.
func (p *Provider) editImage(ctx context.Context, req providers.Request) (providers.Status, error) {
	body, warnings := p.imageBody(req)
	pictures, err := req.Attachments("image")
	if err != nil {
		return providers.Status{}, err
	}
	masks, err := req.Attachments("mask")
	if err != nil {
		return providers.Status{}, err
	}
	if byURL(pictures) || byURL(masks) {
		body["images"] = references(pictures)
		if len(masks) > 0 {
			body["mask"] = references(masks)[0]
		}
		return p.image(ctx, "/images/edits", body, nil, warnings)
	}
	form := formOf(body)
	name := "image"
	if len(pictures) > 1 {
		name = "image[]"
	}
	for i, picture := range pictures {
		picture.AddTo(form, name, fmt.Sprintf("image-%d", i+1))
	}
	if len(masks) > 0 {
		masks[0].AddTo(form, "mask", "mask")
	}
	return p.image(ctx, "/images/edits", nil, form.Payload(), warnings)
}

// image makes the call with a JSON body or a form.
func (p *Provider) image(ctx context.Context, path string, body map[string]any, form *providers.Payload, warnings []tasks.Warning) (providers.Status, error) {
	var in any
	if form == nil {
		in = body
	}
	var reply imagesReply
	call := providers.Call{URL: path, Payload: form, Submit: true}
	answer, err := p.client.JSON(ctx, call, in, &reply)
	if err != nil {
		return providers.Status{}, err
	}
	st, err := p.imageStatus(reply, answer.Body)
	st.Warnings = warnings
	return st, err
}

func (p *Provider) imageStatus(reply imagesReply, answer []byte) (providers.Status, error) {
	if reply.Data == nil {
		return providers.Status{}, p.client.Strange(true, "the answer has no pictures")
	}
	st, err := p.client.Completed(true, providers.Status{Data: reply.details()}, answer, tasks.TextToImage)
	if err != nil {
		return providers.Status{}, err
	}
	if len(st.Outputs) < len(*reply.Data) {
		return providers.Status{}, p.client.Strange(true, "a picture of the answer is empty")
	}
	for i := range st.Outputs {
		if format := mediaTypes[string(reply.OutputFormat)]; format != "" {
			st.Outputs[i].MediaType = format
		}
	}
	return st, nil
}

// details is what is not a file.
func (r imagesReply) details() map[string]any {
	details := map[string]any{}
	for key, value := range map[string]loose{"size": r.Size, "quality": r.Quality, "background": r.Background} {
		if value != "" {
			details[key] = string(value)
		}
	}
	var revised []string
	for _, picture := range *r.Data {
		if picture.RevisedPrompt != "" {
			revised = append(revised, picture.RevisedPrompt)
		}
	}
	switch len(revised) {
	case 0:
	case 1:
		details["revised_prompt"] = revised[0]
	default:
		details["revised_prompts"] = revised
	}
	if len(r.Usage) > 0 && string(r.Usage) != "null" {
		details["usage"] = r.Usage
	}
	return details
}
