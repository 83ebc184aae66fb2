package dashboard_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

var errMoved = &orchestrator.ConflictError{Code: orchestrator.CodeJobMoved, Message: "The job has moved on."}

// Each of asynqmon's actions, on a task in each state: what the engine is asked,
// how it answers, what the page gets, and where asynq has the task afterwards.
func TestActions(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.serve(tasks.QueuePoll, tasks.QueueDeliver)
	e := gallery(noon)
	v := open(t, config(e, d.opt))

	const (
		pending   = asynq.TaskStatePending
		active    = asynq.TaskStateActive
		scheduled = asynq.TaskStateScheduled
		retry     = asynq.TaskStateRetry
		archived  = asynq.TaskStateArchived
		completed = asynq.TaskStateCompleted
		gone      = asynq.TaskState(0)
	)
	down := fmt.Errorf("%w: dial redis://:hunter2@host", orchestrator.ErrUnavailable)
	for i, test := range []struct {
		name   string
		state  asynq.TaskState
		kind   tasks.Kind
		verb   string
		answer error
		calls  string // of the engine
		status int
		after  asynq.TaskState
	}{
		{"run a failed job", archived, tasks.KindSubmit, "run", nil, "run", 204, gone},
		{"run a job that moved on", archived, tasks.KindSubmit, "run", errMoved, "run", 409, archived},
		{"run a job that is gone", archived, tasks.KindSubmit, "run", orchestrator.ErrNotFound, "run", 404, archived},
		{"run without Redis", archived, tasks.KindSubmit, "run", down, "run", 503, archived},
		{"run into an error", retry, tasks.KindSubmit, "run", errors.New("hunter2"), "run", 500, retry},
		{"poll now", scheduled, tasks.KindPoll, "run", nil, "run", 204, scheduled},
		{"submit now", retry, tasks.KindSubmit, "run", nil, "run", 204, retry},
		{"deliver now", scheduled, tasks.KindDeliver, "run", errMoved, "run", 204, pending},
		{"deliver what was given up", archived, tasks.KindDeliver, "run", errMoved, "run", 409, archived},

		{"delete a waiting step", pending, tasks.KindSubmit, "delete", nil, "drop", 204, pending},
		{"delete a poll", scheduled, tasks.KindPoll, "delete", nil, "drop", 204, scheduled},
		{"delete a stale poll", scheduled, tasks.KindPoll, "delete", errMoved, "drop", 204, gone},
		{"delete the poll of no job", scheduled, tasks.KindPoll, "delete", orchestrator.ErrNotFound, "drop", 204, gone},
		{"delete an owed delivery", scheduled, tasks.KindDeliver, "delete", errMoved, "drop", 409, scheduled},
		{"delete an archived task", archived, tasks.KindSubmit, "delete", nil, "", 204, gone},
		{"delete a completed task", completed, tasks.KindPoll, "delete", nil, "", 204, gone},
		{"delete a running step", active, tasks.KindPoll, "delete", nil, "drop", 204, active},
		{"delete a stale running step", active, tasks.KindPoll, "delete", errMoved, "drop", 409, active},
		{"delete without Redis", scheduled, tasks.KindPoll, "delete", down, "drop", 503, scheduled},

		{"archive a waiting step", retry, tasks.KindSubmit, "archive", nil, "drop", 204, retry},
		{"archive a stale poll", scheduled, tasks.KindPoll, "archive", errMoved, "drop", 204, archived},

		{"cancel a running step", active, tasks.KindPoll, "cancel", nil, "drop", 204, active},
		{"cancel a delivery", active, tasks.KindDeliver, "cancel", errMoved, "drop", 409, active},
	} {
		for _, batch := range []bool{false, true} {
			name := test.name
			if batch {
				name += ", in a batch"
			}
			queue := tasks.QueuePoll
			if test.kind == tasks.KindDeliver {
				queue = tasks.QueueDeliver
			}
			if test.state == pending || test.after == pending {
				queue = "submit:default" // which nobody serves, so that they stay
			}
			task := tasks.Task{Kind: test.kind, JobID: fmt.Sprintf("job_%d%t", i, batch), Step: 2}
			id := d.put(queue, task, test.state)
			e.mu.Lock()
			e.calls, e.refuse[id] = nil, test.answer
			e.mu.Unlock()

			status, text := act(v, queue, test.state, id, test.verb, batch)
			require.Equal(t, test.status, status, "%s: %s", name, text)
			require.NotContains(t, text, "hunter2", name)
			var calls []string
			if test.calls != "" {
				calls = []string{test.calls + " " + id}
			}
			require.ElementsMatch(t, calls, e.called(), name)
			require.Equal(t, test.after, d.state(queue, id), name)
			if test.state == active {
				continue
			}
			_ = d.inspector.DeleteTask(queue, id)
		}
		if test.state == active {
			d.freeActive(t)
		}
	}
}

// freeActive lets the handlers that hold tasks active return.
func (d *desk) freeActive(t *testing.T) {
	t.Helper()
	for range 2 {
		d.release <- struct{}{}
	}
}

// act does what asynqmon's page does on a click, and tells the status that the
// task got.
func act(v *visit, queue string, state asynq.TaskState, id, verb string, batch bool) (int, string) {
	base := "/queues/api/queues/" + queue + "/" + state.String() + "_tasks"
	if !batch {
		method, path := "POST", base+"/"+id+":"+verb
		if verb == "delete" {
			method, path = "DELETE", base+"/"+id
		}
		answer := v.do(method, path, "")
		return answer.StatusCode, answer.text
	}
	body, _ := json.Marshal(map[string]any{"task_ids": []string{id}})
	answer := v.do("POST", base+":batch_"+verb, string(body), "Content-Type", "application/json")
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, answer.text
	}
	lists := map[string][]string{}
	var reasons struct{ Reasons map[string]string }
	var raw map[string]json.RawMessage
	_ = json.Unmarshal([]byte(answer.text), &raw)
	_ = json.Unmarshal([]byte(answer.text), &reasons)
	delete(raw, "reasons")
	for name, list := range raw {
		var ids []string
		_ = json.Unmarshal(list, &ids)
		lists[name] = ids
	}
	good := map[string]string{"run": "pending_ids", "delete": "deleted_ids", "archive": "archived_ids", "cancel": "canceled_ids"}[verb]
	bad := map[string]string{"run": "error_ids", "delete": "failed_ids", "archive": "error_ids", "cancel": "error_ids"}[verb]
	switch {
	case len(lists[good]) == 1 && len(lists[bad]) == 0:
		return http.StatusNoContent, answer.text
	case len(lists[bad]) == 1 && len(lists[good]) == 0 && reasons.Reasons[id] != "":
		return statusOf[reasons.Reasons[id]], answer.text
	default:
		return 0, answer.text
	}
}

// statusOf finds the status that a reason has when it is not told in a batch.
var statusOf = map[string]int{
	"The job has moved on.": 409,
	"The job still owes this delivery or provider cancel and would enqueue it again.": 409,
	"There is no such job any more.":             404,
	"Redis cannot be reached. Please try again.": 503,
	"That did not work. The log says why.":       500,
}

// The path names the state that the page showed; what counts is where the task
// stands now.
func TestActionsLookWhereTheTaskStands(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := gallery(noon)
	v := open(t, config(e, d.opt))
	id := d.put(tasks.QueuePoll, tasks.Task{Kind: tasks.KindPoll, JobID: "job_a", Step: 1}, asynq.TaskStateScheduled)
	require.Equal(t, http.StatusNoContent, v.do("DELETE", "/queues/api/queues/poll/archived_tasks/"+id, "").StatusCode)
	require.Equal(t, []string{"drop " + id}, e.called())
	require.Equal(t, asynq.TaskStateScheduled, d.state(tasks.QueuePoll, id), "its job is asked, not the list")

	require.Equal(t, http.StatusNotFound, v.do("POST", "/queues/api/queues/poll/archived_tasks/job_b:1:0:run", "").StatusCode)
	require.Equal(t, http.StatusNotFound, v.do("POST", "/queues/api/queues/none/archived_tasks/job_b:1:0:run", "").StatusCode)
	require.Len(t, e.called(), 1)
}

func TestWhatIsNotOffered(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e := gallery(noon)
	v := open(t, config(e, d.opt))
	id := d.put(tasks.QueuePoll, tasks.Task{Kind: tasks.KindPoll, JobID: "job_a", Step: 1}, asynq.TaskStateScheduled)
	for _, request := range []string{
		"POST /queues/api/queues/poll/scheduled_tasks:run_all", "POST /queues/api/queues/poll/scheduled_tasks:archive_all",
		"DELETE /queues/api/queues/poll/scheduled_tasks:delete_all", "POST /queues/api/queues/poll/active_tasks:cancel_all",
		"DELETE /queues/api/queues/poll/groups/g/aggregating_tasks:delete_all", "DELETE /queues/api/queues/poll",
		"POST /queues/api/queues/poll/groups/g/aggregating_tasks/" + id + ":run", "POST /queues/api/queues/poll/groups/g/aggregating_tasks:batch_delete",
		"PUT /queues/api/queues/poll:pause", "PATCH /queues/", "POST /queues/api/anything", "DELETE /queues/api/queues/poll:pause",
		"POST /queues/api/queues/poll/scheduled_tasks:batch_explode", "DELETE /queues/api/queues/poll/groups/g/aggregating_tasks/" + id,
	} {
		method, path, _ := strings.Cut(request, " ")
		answer := v.do(method, path, `{"task_ids":["`+id+`"]}`)
		require.Contains(t, []int{http.StatusConflict, http.StatusForbidden}, answer.StatusCode, request)
		require.NotEmpty(t, answer.text, request)
	}
	require.Equal(t, asynq.TaskStateScheduled, d.state(tasks.QueuePoll, id))
	require.Empty(t, e.called())
	require.Equal(t, http.StatusBadRequest, v.do("POST", "/queues/api/queues/poll/scheduled_tasks:batch_run", "no JSON").StatusCode)

	require.Equal(t, http.StatusNoContent, v.do("POST", "/queues/api/queues/poll:pause", "").StatusCode)
	info, err := d.inspector.GetQueueInfo(tasks.QueuePoll)
	require.NoError(t, err)
	require.True(t, info.Paused)
	require.Equal(t, http.StatusNoContent, v.do("POST", "/queues/api/queues/poll:resume", "").StatusCode)
}
