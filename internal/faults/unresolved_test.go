package faults

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestUnresolvedJobSettlesByALateWebhook loses the answer of a provider that
// cannot be asked. The job says what is known; no door buys it again; and the
// provider's webhook, which carries job and submission, settles it by itself.
func TestUnresolvedJobSettlesByALateWebhook(t *testing.T) {
	t.Parallel()
	front := newLink(t)
	f := newFleet(t, settings{OnUnknown: "hold", PublicURL: "http://" + front.address()})
	front.lead(strings.TrimPrefix(f.apiURL, "http://"))
	f.work(2)
	sent := time.Now()
	id := f.enqueue(1, func(int) tasks.Draft {
		return noop(`{"sync":false,"lose_answer":true,"duration_ms":5000,"webhook":"late","late_by_ms":3000}`)
	})[0]
	job := f.awaitStatus(id, tasks.StatusUnresolved)
	require.Less(t, time.Since(sent), 7*time.Second, "else the webhook is there already, and nothing is tried")
	for _, said := range []string{"submission 1 was sent to sketch at 20", "may have been accepted", "client id " + id + "-1", "created or not_created"} {
		require.Contains(t, job.Error.Message, said)
	}

	ctx := t.Context()
	for _, mode := range []client.RetryMode{client.RetryDefault, client.Resume} {
		_, err := f.api.Retry(ctx, id, mode)
		require.NoError(t, err)
		f.awaitStatus(id, tasks.StatusUnresolved)
	}
	_, err := f.api.Retry(ctx, id, client.Regenerate)
	requireStatus(t, err, http.StatusConflict)
	requireStatus(t, f.api.Delete(ctx, id), http.StatusConflict)

	job = f.awaitStatus(id, tasks.StatusCompleted)
	require.Len(t, job.Attempts, 1)
	require.Nil(t, job.Error)
	stats, err := f.provider.Stats()
	require.NoError(t, err)
	require.Equal(t, 1, stats.Accepted)
}

// TestUnresolvedJobIsResolvedByAnOperator tells two jobs what had become of them:
// one is polled, the other is submitted for the first time.
func TestUnresolvedJobIsResolvedByAnOperator(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{OnUnknown: "hold", SubmitTimeout: 5 * time.Second})
	f.work(1)
	created := f.enqueue(1, func(int) tasks.Draft { return noop(`{"sync":false,"lose_answer":true,"times":1,"duration_ms":100}`) })[0]
	f.awaitStatus(created, tasks.StatusUnresolved)
	bill, err := f.provider.Bill()
	require.NoError(t, err)
	require.Len(t, bill, 1)

	_, err = f.api.Resolve(t.Context(), created, client.Created("not an id of this provider"))
	requireStatus(t, err, http.StatusUnprocessableEntity)
	_, err = f.api.Resolve(t.Context(), created, client.Created(bill[0].ID))
	require.NoError(t, err)
	job := f.awaitStatus(created, tasks.StatusCompleted)
	require.Equal(t, bill[0].ID, *job.Attempts[0].RemoteID)
	_, err = f.api.Resolve(t.Context(), created, client.NotCreated())
	requireStatus(t, err, http.StatusConflict)

	again := f.enqueue(1, func(int) tasks.Draft { return noop(`{"sync":false,"lose_answer":true,"times":1,"duration_ms":100}`) })[0]
	f.awaitStatus(again, tasks.StatusUnresolved)
	_, err = f.api.Resolve(t.Context(), again, client.NotCreated()) // which is not true, and his responsibility
	require.NoError(t, err)
	job = f.awaitStatus(again, tasks.StatusCompleted)
	require.Len(t, job.Attempts, 1, "it costs no attempt")
}

// awaitStatus waits until the job has a status and rests in it.
func (f *fleet) awaitStatus(id string, want tasks.Status) client.Job {
	f.t.Helper()
	var job *client.Job
	require.Eventually(f.t, func() bool {
		var err error
		job, err = f.api.Get(context.WithoutCancel(f.t.Context()), id)
		return err == nil && job.Status == want
	}, patience, 20*time.Millisecond, "%s does not become %s", id, want)
	return *job
}

func requireStatus(t *testing.T, err error, want int) {
	t.Helper()
	var problem *client.Problem
	require.ErrorAs(t, err, &problem)
	require.Equal(t, want, problem.Status, "%+v", problem)
}
