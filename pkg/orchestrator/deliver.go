package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The types of events that callers are told of.
const (
	EventTypeCompleted  = "job.completed"
	EventTypeFailed     = "job.failed"
	EventTypeCanceled   = "job.canceled"
	EventTypeUnresolved = "job.unresolved"
	EventTypeLateResult = "job.late_result"
)

// keptDeliveries is how many settled deliveries a record remembers.
const keptDeliveries = 20

// message is the body of a webhook.
type message struct {
	Type      string     `json:"type"`
	Timestamp time.Time  `json:"timestamp"`
	Data      tasks.View `json:"data"`
}

// announce puts the event of a change into the outbox, with its body as the job
// is now, and drops the bodies of deliveries that are settled. The outbox is
// written together with the change, so that no rest goes untold.
func (e *Engine) announce(before, after *tasks.Job, now time.Time) (map[int64][]byte, error) {
	bodies := map[int64][]byte{}
	for i := range after.Outbox {
		d := &after.Outbox[i]
		if old := before.Delivery(d.Version); d.State != tasks.DeliveryPending && old != nil && old.State == tasks.DeliveryPending {
			bodies[d.Version] = nil
		}
	}
	kind := eventType(before, after)
	if kind == "" || after.Request.WebhookURL == "" {
		return bodies, nil
	}
	version := before.Version + 1
	told := *after
	told.Version, told.UpdatedAt = version, now
	body, err := json.Marshal(message{Type: kind, Timestamp: now.UTC(), Data: tasks.NewView(&told, e.Links)})
	if err != nil {
		return nil, fmt.Errorf("encode event of %s: %w", after.ID, err)
	}
	bodies[version] = body
	after.Outbox = append(forgetDeliveries(after.Outbox), tasks.Delivery{
		Version: version, Type: kind, State: tasks.DeliveryPending, At: now, NextAt: now,
	})
	return bodies, nil
}

func eventType(before, after *tasks.Job) string {
	if after.Result != nil && after.Result.Late && (before.Result == nil || !before.Result.Late) {
		return EventTypeLateResult
	}
	if after.State == before.State {
		return ""
	}
	switch after.State {
	case tasks.Completed:
		return EventTypeCompleted
	case tasks.Failed:
		return EventTypeFailed
	case tasks.Canceled:
		return EventTypeCanceled
	case tasks.Unresolved:
		return EventTypeUnresolved
	default:
		return ""
	}
}

func forgetDeliveries(outbox []tasks.Delivery) []tasks.Delivery {
	for i := 0; len(outbox) > keptDeliveries && i < len(outbox); {
		if outbox[i].State == tasks.DeliveryPending {
			i++
			continue
		}
		outbox = append(outbox[:i], outbox[i+1:]...)
	}
	return outbox
}

func deliverTask(job *tasks.Job, d *tasks.Delivery, now time.Time) tasks.Task {
	return tasks.Task{
		Kind: tasks.KindDeliver, JobID: job.ID, Step: d.Version, Gen: d.Gen,
		Queue: tasks.QueueDeliver, Delay: max(d.NextAt.Sub(now), 0),
	}
}

// deliver tells the caller of one event, once. It runs beside the main lane:
// what the job does meanwhile does not fence it out.
func (e *Engine) deliver(ctx context.Context, job *tasks.Job, task tasks.Task) Outcome {
	d := job.Delivery(task.Step)
	now := e.Store.Now()
	switch {
	case d == nil || task.Gen != d.Gen:
		return Done
	case d.State == tasks.DeliveryFailed:
		return Archive(deliveryError(d))
	case d.State != tasks.DeliveryPending:
		return Done
	case d.NextAt.After(now.Add(early)):
		return Retry(deliveryError(d), d.NextAt.Sub(now))
	case e.Notifier == nil:
		e.Observer.PutBack("no_notifier")
		return Retry(errors.New("this worker delivers no webhooks"), putBackDelay)
	}
	body, err := e.Store.Body(ctx, job.ID, d.Version)
	if err != nil {
		return Retry(fmt.Errorf("read event: %w", err), 5*time.Second)
	}
	id := fmt.Sprintf("%s.%d", job.ID, d.Version)
	receipt, err := e.Notifier.Deliver(ctx, job.Tenant, job.Request.WebhookURL, id, now, body)
	e.Observer.Delivered(job, receipt.Status, err)
	after, saveErr := e.insist(context.WithoutCancel(ctx), job, e.delivered(d.Version, receipt, err))
	if saveErr != nil {
		return Retry(saveErr, 5*time.Second)
	}
	switch d = after.Delivery(task.Step); {
	case d == nil || d.State == tasks.DeliveryDelivered:
		return Done
	case d.State == tasks.DeliveryFailed:
		return Archive(deliveryError(d))
	default:
		return Retry(deliveryError(d), d.NextAt.Sub(e.Store.Now()))
	}
}

// delivered records how a try went: told, to be tried again, or given up.
func (e *Engine) delivered(version int64, receipt Receipt, failure error) move {
	return func(job *tasks.Job, now time.Time) error {
		d := job.Delivery(version)
		if d == nil || d.State != tasks.DeliveryPending {
			return errUnchanged
		}
		if err := job.Move(tasks.EventTold, job.State); err != nil {
			return err
		}
		d.Tries++
		d.LastCode, d.LastErr = receipt.Status, ""
		switch {
		case failure == nil && receipt.Status >= 200 && receipt.Status < 300:
			d.State, d.DoneAt, d.NextAt = tasks.DeliveryDelivered, now, time.Time{}
			return nil
		case failure != nil:
			d.LastErr = classify.Classify(failure).Message
		default:
			d.LastErr = fmt.Sprintf("the receiver answered %d %s", receipt.Status, http.StatusText(receipt.Status))
		}
		if receipt.Status == http.StatusGone || d.Tries > len(e.Timings.Deliveries) {
			d.State, d.DoneAt, d.NextAt = tasks.DeliveryFailed, now, time.Time{}
			return nil
		}
		wait := spread(e.Timings.Deliveries[d.Tries-1], job.ID, d.Tries)
		d.NextAt = now.Add(max(wait, receipt.RetryAfter))
		return nil
	}
}

func deliveryError(d *tasks.Delivery) error {
	return fmt.Errorf("webhook %s, try %d: %s", d.Type, d.Tries, d.LastErr)
}
