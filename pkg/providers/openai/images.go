package openai

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
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
	pictures, err := p.picturesAt(req, "image")
	if err != nil {
		return providers.Status{}, err
	}
	masks, err := p.picturesAt(req, "mask")
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
		picture.attach(form, name, fmt.Sprintf("image-%d", i+1))
	}
	if len(masks) > 0 {
		masks[0].attach(form, "mask", "mask")
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
	if _, err := p.client.JSON(ctx, call, in, &reply); err != nil {
		return providers.Status{}, err
	}
	st, err := p.imageStatus(reply)
	st.Warnings = warnings
	return st, err
}

func (p *Provider) imageStatus(reply imagesReply) (providers.Status, error) {
	if reply.Data == nil {
		return providers.Status{}, p.client.Strange(true, "the answer has no pictures")
	}
	st := providers.Status{State: providers.Succeeded, Data: reply.details()}
	for i, picture := range *reply.Data {
		output := providers.Output{Kind: "image", MediaType: mediaTypes[string(reply.OutputFormat)], URL: picture.URL}
		if picture.Base64 != "" {
			data, err := base64.StdEncoding.DecodeString(stripDataURL(picture.Base64))
			if err != nil {
				return providers.Status{}, p.client.Strange(true, "picture %d is not base64", i+1)
			}
			output.Data, output.URL = data, ""
			if output.MediaType == "" {
				output.MediaType = http.DetectContentType(data)
			}
		}
		if output.URL == "" && len(output.Data) == 0 {
			return providers.Status{}, p.client.Strange(true, "picture %d is empty", i+1)
		}
		st.Outputs = append(st.Outputs, output)
	}
	if len(st.Outputs) == 0 {
		return providers.Status{State: providers.Failed, Failure: &classify.Error{
			Class: classify.GenerationFailed, Code: "no_image", Provider: p.config.Name, Message: "the provider made no picture",
		}}, nil
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

// stripDataURL takes away what some servers put before the base64.
func stripDataURL(text string) string {
	if rest, found := strings.CutPrefix(text, "data:"); found {
		_, data, _ := strings.Cut(rest, ",")
		return data
	}
	return text
}
