package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// maxInput bounds how much of a job's input or output a page shows.
const maxInput = 64 << 10

// jobPage is what the job's template shows.
type jobPage struct {
	Job       *tasks.Job
	Status    tasks.Status
	AtRest    bool
	Input     string
	Output    string
	Attempts  []attemptRow
	TaskURL   string // of the current task in asynqmon
	RetryKey  string // makes a repeated click the same retry
	Done      string // what the last action did
	Problem   string // why it did not
	CanCancel bool
	CanRetry  bool
	CanBuy    bool // whether a retry may generate anew
	CanSettle bool
	Open      *tasks.Submission // the one that wants settling
}

// attemptRow is an attempt with the bar that shows where its time went.
type attemptRow struct {
	tasks.Attempt
	Submissions []tasks.Submission
	Stages      []stage
	Took        time.Duration
	Going       bool
}

// stage is a part of an attempt's bar, in percent of the longest attempt.
type stage struct {
	Name         string
	Start, Width float64
	Took         time.Duration
}

func (s *server) showJob(w http.ResponseWriter, r *http.Request) {
	job, ok := s.findJob(w, r)
	if !ok {
		return
	}
	page := s.jobPage(job)
	page.Done = doneWords[r.URL.Query().Get("done")]
	s.render(w, r, http.StatusOK, "job", job.ID, page)
}

// findJob looks the request's job up, and answers the request when it cannot.
func (s *server) findJob(w http.ResponseWriter, r *http.Request) (*tasks.Job, bool) {
	job, err := s.Lookup(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, orchestrator.ErrNotFound):
		s.showProblem(w, r, http.StatusNotFound, "There is no such job. It may have been erased, or its retention has passed.")
	case err != nil:
		s.Logger.Error("dashboard job", zap.Error(err))
		status, text := refusal(err)
		s.showProblem(w, r, status, text)
	}
	return job, err == nil
}

func (s *server) jobPage(job *tasks.Job) jobPage {
	page := jobPage{
		Job: job, Status: job.State.Status(), AtRest: job.State.AtRest(),
		Input: pretty(job.Request.InputData), Attempts: attemptRows(job, s.Now()), RetryKey: newKey(),
		CanCancel: !job.State.Final(),
		CanRetry:  job.State == tasks.Failed || job.State == tasks.Unresolved,
		CanBuy:    job.State == tasks.Failed && !job.HasOpen() && !job.HasLive(),
		CanSettle: job.State == tasks.Unresolved,
	}
	if job.Result != nil {
		page.Output = pretty(job.Result.Output)
	}
	if job.Kind != "" {
		task := job.MainTask(0)
		page.TaskURL = fmt.Sprintf("%s/queues/%s/tasks/%s", queuesPath, task.Queue, task.ID())
	}
	for i := range job.Submissions {
		if job.Submissions[i].Open() {
			page.Open = &job.Submissions[i]
		}
	}
	return page
}

// pretty indents JSON for reading, and cuts what is too long to read.
func pretty(raw json.RawMessage) string {
	if len(raw) == 0 || bytes.Equal(raw, []byte("{}")) {
		return ""
	}
	var indented bytes.Buffer
	if json.Indent(&indented, raw, "", "  ") != nil {
		return "not JSON"
	}
	if indented.Len() <= maxInput {
		return indented.String()
	}
	return string(bytes.ToValidUTF8(indented.Bytes()[:maxInput], nil)) + "\n… cut here"
}

// attemptRows lays the attempts out on one scale, so that their bars compare.
func attemptRows(job *tasks.Job, now time.Time) []attemptRow {
	rows := make([]attemptRow, len(job.Attempts))
	longest := time.Millisecond
	for i, a := range job.Attempts {
		end := a.EndedAt
		// An attempt that failed may be left without an end of its own.
		if end.IsZero() && (i < len(job.Attempts)-1 || job.State.AtRest()) {
			end = latest(a.DoneAt, a.AnsweredAt, a.StartedAt)
			if a.Error != nil {
				end = latest(end, a.Error.At)
			}
		}
		rows[i] = attemptRow{Attempt: a, Going: end.IsZero()}
		if end.IsZero() {
			end = now
		}
		rows[i].Took = max(end.Sub(a.StartedAt), 0)
		longest = max(longest, rows[i].Took)
		for _, s := range job.Submissions {
			if s.Attempt == a.Number {
				rows[i].Submissions = append(rows[i].Submissions, s)
			}
		}
	}
	for i := range rows {
		rows[i].Stages = stages(rows[i].Attempt, rows[i].Took, longest)
	}
	return rows
}

// stages divides an attempt's time into handing over, generating and copying.
func stages(a tasks.Attempt, took, scale time.Duration) []stage {
	end := a.StartedAt.Add(took)
	marks := []struct {
		name  string
		until time.Time
	}{{"submit", a.AnsweredAt}, {"generate", a.DoneAt}, {"copy", end}}
	var parts []stage
	from := a.StartedAt
	for i, mark := range marks {
		until := mark.until
		if until.IsZero() || until.After(end) {
			until = end // this stage was the last
		}
		if d := until.Sub(from); d > 0 {
			parts = append(parts, stage{
				Name: mark.name, Took: d, Start: percent(from.Sub(a.StartedAt), scale), Width: max(percent(d, scale), 0.4),
			})
		}
		if mark.until.IsZero() && i < len(marks)-1 {
			break
		}
		from = until
	}
	return parts
}

func percent(part, whole time.Duration) float64 { return 100 * float64(part) / float64(whole) }

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// doneWords say what an action did, by the word that its redirect carries.
var doneWords = map[string]string{
	"cancel":  "The job is canceled. The provider is told as well, where it can be.",
	"retry":   "The job is on its way again.",
	"resolve": "Noted. The job goes on from there.",
}

func (s *server) cancelJob(w http.ResponseWriter, r *http.Request) {
	s.actOnJob(w, r, "cancel", func(job *tasks.Job, _ int64) error {
		// Any version: a running job's grows while one reads its page.
		_, err := s.Jobs.Cancel(r.Context(), job.Tenant, job.ID, 0)
		return err
	})
}

func (s *server) retryJob(w http.ResponseWriter, r *http.Request) {
	s.actOnJob(w, r, "retry", func(job *tasks.Job, version int64) error {
		mode, key := orchestrator.RetryMode(r.PostFormValue("mode")), r.PostFormValue("key")
		_, _, err := s.Jobs.Retry(r.Context(), job.Tenant, job.ID, mode, key, version)
		return err
	})
}

func (s *server) resolveJob(w http.ResponseWriter, r *http.Request) {
	s.actOnJob(w, r, "resolve", func(job *tasks.Job, version int64) error {
		resolution := orchestrator.Resolution{Outcome: r.PostFormValue("outcome"), RemoteID: r.PostFormValue("remote_id")}
		_, err := s.Jobs.Resolve(r.Context(), job.Tenant, job.ID, resolution, version)
		return err
	})
}

// actOnJob carries out a verb and leads back to the job's page, which says what
// came of it.
func (s *server) actOnJob(w http.ResponseWriter, r *http.Request, name string, act func(job *tasks.Job, version int64) error) {
	job, ok := s.findJob(w, r)
	if !ok {
		return
	}
	version, err := strconv.ParseInt(r.PostFormValue("version"), 10, 64)
	if err != nil || version < 1 {
		s.showProblem(w, r, http.StatusBadRequest, "The form did not say which version of the job it was made for.")
		return
	}
	log := s.Logger.With(zap.String("operator", operatorName(r.Context())), zap.String("action", name), zap.String("job", job.ID))
	if err := act(job, version); err != nil {
		status, text := refusal(err)
		if status >= http.StatusInternalServerError {
			log.Error("job action failed", zap.Error(err))
		} else {
			log.Info("job action refused", zap.Error(err))
		}
		page := s.jobPage(job)
		page.Problem = text
		s.render(w, r, status, "job", job.ID, page)
		return
	}
	log.Info("job action")
	http.Redirect(w, r, "/jobs/"+job.ID+"?done="+name, http.StatusSeeOther)
}
