package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The paths of asynqmon's actions, by what they act on. Queue names and task
// ids hold colons themselves, so that the verb is what follows the last one.
var (
	oneTask    = regexp.MustCompile(`^/queues/api/queues/([^/]+)/[a-z]+_tasks/([^/]+):(run|archive|cancel)$`)
	deleteTask = regexp.MustCompile(`^/queues/api/queues/([^/]+)/[a-z]+_tasks/([^/]+)$`)
	someTasks  = regexp.MustCompile(`^/queues/api/queues/([^/]+)/[a-z]+_tasks:batch_(run|archive|cancel|delete)$`)
	allTasks   = regexp.MustCompile(`^/queues/api/queues/[^/]+/(?:groups/[^/]+/)?[a-z]+_tasks:[a-z]+_all$`)
	wholeQueue = regexp.MustCompile(`^/queues/api/queues/[^/]+$`)
	pauseQueue = regexp.MustCompile(`^/queues/api/queues/[^/]+:(?:pause|resume)$`)
)

// maxBatch bounds how many tasks one request may name.
const maxBatch = 1000

// serveAction maps what asynqmon's page asks for onto jobs. Only pausing and
// resuming a queue reach asynqmon itself; a path that is not known here is
// refused, so that none can slip by.
func (q *queues) serveAction(w http.ResponseWriter, r *http.Request) {
	path, post, del := r.URL.Path, r.Method == http.MethodPost, r.Method == http.MethodDelete
	switch {
	case post && pauseQueue.MatchString(path):
		q.Logger.Info("queue paused or resumed", zap.String("operator", operatorName(r.Context())), zap.String("path", path))
		q.asynqmon.ServeHTTP(w, r)
	case (post || del) && allTasks.MatchString(path):
		http.Error(w, "Easel acts on jobs one by one: select the tasks you mean, a page at a time.", http.StatusConflict)
	case post && someTasks.MatchString(path):
		m := someTasks.FindStringSubmatch(path)
		q.actOnSome(w, r, m[1], verb(m[2]))
	case post && oneTask.MatchString(path):
		m := oneTask.FindStringSubmatch(path)
		q.actOnOne(w, r, m[1], m[2], verb(m[3]))
	case del && deleteTask.MatchString(path):
		m := deleteTask.FindStringSubmatch(path)
		q.actOnOne(w, r, m[1], m[2], verbDelete)
	case del && wholeQueue.MatchString(path):
		http.Error(w, "Queues belong to Easel and cannot be deleted. Pause the queue instead.", http.StatusConflict)
	default:
		http.Error(w, "Easel does not offer this action.", http.StatusForbidden)
	}
}

// verb is what asynqmon can be asked to do with a task.
type verb string

const (
	verbRun     verb = "run"
	verbArchive verb = "archive"
	verbCancel  verb = "cancel"
	verbDelete  verb = "delete"
)

// batchKeys are the names of asynqmon's lists in the answer to a batch: the ids
// that went well, and those that did not.
var batchKeys = map[verb][2]string{
	verbRun:     {"pending_ids", "error_ids"},
	verbArchive: {"archived_ids", "error_ids"},
	verbCancel:  {"canceled_ids", "error_ids"},
	verbDelete:  {"deleted_ids", "failed_ids"},
}

func (q *queues) actOnOne(w http.ResponseWriter, r *http.Request, queue, id string, v verb) {
	if err := q.act(r.Context(), queue, id, v); err != nil {
		status, message := refusal(err)
		http.Error(w, message, status)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (q *queues) actOnSome(w http.ResponseWriter, r *http.Request, queue string, v verb) {
	var batch struct {
		TaskIDs []string `json:"task_ids"`
	}
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil || len(batch.TaskIDs) > maxBatch {
		http.Error(w, "The request is not a list of at most 1,000 task ids.", http.StatusBadRequest)
		return
	}
	done, failed, reasons := []string{}, []string{}, map[string]string{}
	for _, id := range batch.TaskIDs {
		if err := q.act(r.Context(), queue, id, v); err != nil {
			failed = append(failed, id)
			_, reasons[id] = refusal(err)
			continue
		}
		done = append(done, id)
	}
	keys := batchKeys[v]
	w.Header().Set("Content-Type", "application/json")
	// The reasons are ours: asynqmon's page ignores them, our script shows them.
	_ = json.NewEncoder(w).Encode(map[string]any{keys[0]: done, keys[1]: failed, "reasons": reasons})
}

// act carries out one verb on one task, and says in the log who asked and what
// came of it.
func (q *queues) act(ctx context.Context, queue, id string, v verb) error {
	err := q.apply(ctx, queue, id, v)
	log := q.Logger.With(zap.String("operator", operatorName(ctx)), zap.String("action", string(v)),
		zap.String("queue", queue), zap.String("task", id))
	var conflict *orchestrator.ConflictError
	switch {
	case err == nil:
		log.Info("task action")
	case errors.As(err, &conflict), errors.Is(err, orchestrator.ErrNotFound), errors.Is(err, errNoTask):
		log.Info("task action refused", zap.Error(err))
	default:
		log.Error("task action failed", zap.Error(err))
	}
	return err
}

// errNoTask is an action on a task that has left the queue.
var errNoTask = errors.New("task is no longer on the queue")

// apply looks up where the task really stands, since asynqmon's paths say only
// where the page believed it to be, and hands it to its job or to asynq.
func (q *queues) apply(ctx context.Context, queue, id string, v verb) error {
	info, err := q.inspector.GetTaskInfo(queue, id)
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return errNoTask
	}
	if err != nil {
		return err
	}
	switch v {
	case verbRun:
		return q.run(ctx, info)
	case verbCancel:
		_, err := q.Operator.DropTask(ctx, id)
		return err
	default:
		return q.drop(ctx, info, v)
	}
}

// run runs the task's job again. A delivery or a provider cancel that waits is
// simply made due; a stale task has nothing to run.
func (q *queues) run(ctx context.Context, info *asynq.TaskInfo) error {
	_, err := q.Operator.RunTask(ctx, info.ID)
	if passed(err) && beside(info) && waiting(info) {
		return present(q.inspector.RunTask(info.Queue, info.ID))
	}
	if err == nil && info.State == asynq.TaskStateArchived {
		q.clear(info)
	}
	return err
}

// clear takes the archived task of a job that runs again out of the archive,
// where it would ask to be run once more. The job has a new task by then, so
// that a failure costs tidiness only.
func (q *queues) clear(info *asynq.TaskInfo) {
	now, err := q.inspector.GetTaskInfo(info.Queue, info.ID)
	if err != nil || now.State != asynq.TaskStateArchived {
		return
	}
	if err := present(q.inspector.DeleteTask(info.Queue, info.ID)); err != nil && !errors.Is(err, errNoTask) {
		q.Logger.Warn("archived task could not be removed", zap.String("task", info.ID), zap.Error(err))
	}
}

// drop deletes or archives the task. For one that waits this means that nobody
// wants its job any more; one that has ended, or that its job has passed, is
// only an entry in a list.
func (q *queues) drop(ctx context.Context, info *asynq.TaskInfo, v verb) error {
	if ended(info) {
		return q.remove(info, v)
	}
	_, err := q.Operator.DropTask(ctx, info.ID)
	if passed(err) && beside(info) {
		return &orchestrator.ConflictError{Code: orchestrator.CodeJobMoved,
			Message: "The job still owes this delivery or provider cancel and would enqueue it again."}
	}
	if passed(err) && waiting(info) {
		return q.remove(info, v)
	}
	if errors.Is(err, orchestrator.ErrNotFound) && waiting(info) {
		return q.remove(info, v)
	}
	return err
}

// remove takes the task out of its list, in asynq alone.
func (q *queues) remove(info *asynq.TaskInfo, v verb) error {
	if v == verbArchive {
		return present(q.inspector.ArchiveTask(info.Queue, info.ID))
	}
	return present(q.inspector.DeleteTask(info.Queue, info.ID))
}

// passed reports whether the engine said that the task is not its job's current
// step.
func passed(err error) bool {
	var conflict *orchestrator.ConflictError
	return errors.As(err, &conflict) && conflict.Code == orchestrator.CodeJobMoved
}

// beside reports whether the task runs beside its job's main lane.
func beside(info *asynq.TaskInfo) bool {
	kind := tasks.Kind(info.Type)
	return kind == tasks.KindRevoke || kind == tasks.KindDeliver
}

func waiting(info *asynq.TaskInfo) bool {
	return info.State == asynq.TaskStatePending || info.State == asynq.TaskStateScheduled ||
		info.State == asynq.TaskStateRetry
}

func ended(info *asynq.TaskInfo) bool {
	return info.State == asynq.TaskStateArchived || info.State == asynq.TaskStateCompleted
}

// present turns asynq's word for a missing task into ours.
func present(err error) error {
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return errNoTask
	}
	return err
}

// refusal is what the page shows of an error. What went wrong inside stays in
// the log.
func refusal(err error) (status int, message string) {
	var conflict *orchestrator.ConflictError
	var invalid *orchestrator.InvalidError
	switch {
	case errors.As(err, &conflict):
		return http.StatusConflict, conflict.Message
	case errors.As(err, &invalid):
		return http.StatusUnprocessableEntity, invalid.Error()
	case errors.Is(err, orchestrator.ErrVersion), errors.Is(err, orchestrator.ErrConflict):
		return http.StatusPreconditionFailed, "The job has changed meanwhile. Look at it again before you decide."
	case errors.Is(err, orchestrator.ErrNotFound):
		return http.StatusNotFound, "There is no such job any more."
	case errors.Is(err, errNoTask):
		return http.StatusNotFound, "This task is no longer on the queue."
	case errors.Is(err, orchestrator.ErrUnavailable):
		return http.StatusServiceUnavailable, "Redis cannot be reached. Please try again."
	default:
		return http.StatusInternalServerError, "That did not work. The log says why."
	}
}
