package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/browsertest"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const operatorsPassword = "correct horse battery"

// desk is an Easel with an operator who is signed in to its dashboard.
type desk struct {
	*server
	pages  string
	client *http.Client
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{}
	d.server = serveOn(t, func(c *config.Config) {
		c.Dashboard.Username, c.Dashboard.Password = "ada", operatorsPassword
	})
	d.pages = d.running.DashboardURL()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	d.client = &http.Client{Jar: jar}
	answer, err := d.client.PostForm(d.pages+"/login", url.Values{"username": {"ada"}, "password": {operatorsPassword}})
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return d
}

// ask calls asynqmon's API behind the login.
func (d *desk) ask(method, path, body string) (int, string) {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.pages+"/queues/api"+path, strings.NewReader(body))
	require.NoError(d.t, err)
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.client.Do(request)
	require.NoError(d.t, err)
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	require.NoError(d.t, err)
	return answer.StatusCode, string(raw)
}

// listed is one task as asynqmon lists it.
type listed struct {
	ID            string
	ErrorMessage  string    `json:"error_message"`
	NextProcessAt time.Time `json:"next_process_at"`
}

// tasks lists the tasks of a queue in a state.
func (d *desk) tasks(queue, state string) []listed {
	d.t.Helper()
	status, body := d.ask("GET", fmt.Sprintf("/queues/%s/%s_tasks", queue, state), "")
	if status != http.StatusOK {
		return nil // the queue is made with its first task
	}
	var answer struct{ Tasks []listed }
	require.NoError(d.t, json.Unmarshal([]byte(body), &answer))
	return answer.Tasks
}

// find waits for a job's task to be in a state.
func (d *desk) find(job, queue, state string) listed {
	d.t.Helper()
	var found listed
	require.Eventually(d.t, func() bool {
		for _, task := range d.tasks(queue, state) {
			if strings.HasPrefix(task.ID, job+":") {
				found = task
				return true
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond, "no %s task of %s in %s", state, job, queue)
	return found
}

func (d *desk) awaitStatus(id string, status tasks.Status) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		return d.do("GET", "/v1/jobs/"+id, "").job(d.t).Status == status
	}, time.Minute, 50*time.Millisecond, "%s never got %s", id, status)
}

// simulated accepts a job whose provider misbehaves.
func (d *desk) simulated(simulate string) tasks.View {
	d.t.Helper()
	a := d.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x","simulate":`+simulate+`}}`)
	require.Equal(d.t, http.StatusAccepted, a.status, "%s", a.body)
	return a.job(d.t)
}

// TestAsynqTellsTheTruth looks at what the operators see: a transient failure
// waits in the retry set with its error until the time that the provider named,
// a permanent one is in the archive at once.
func TestAsynqTellsTheTruth(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	busy := d.simulated(`{"fail":"overloaded","retry_after_ms":30000}`)
	task := d.find(busy.ID, tasks.QueueSubmitDefault, "retry")
	require.Contains(t, task.ErrorMessage, "overloaded")
	require.GreaterOrEqual(t, task.NextProcessAt.Sub(busy.CreatedAt), 29*time.Second)

	refused := d.simulated(`{"fail":"content_policy"}`)
	require.Contains(t, d.find(refused.ID, tasks.QueueSubmitDefault, "archived").ErrorMessage, "content_policy")
	view := d.do("GET", "/v1/jobs/"+refused.ID, "").job(t)
	require.Len(t, view.Attempts, 1, "content policy is never retried")

	throttled := d.simulated(`{"fail":"rate_limit","times":2,"retry_after_ms":200}`)
	d.awaitStatus(throttled.ID, tasks.StatusCompleted)
	view = d.do("GET", "/v1/jobs/"+throttled.ID, "").job(t)
	require.Len(t, view.Attempts, 1, "a rate limit costs no attempt")

	blipped := d.simulated(`{"sync":false,"duration_ms":500,"poll_blips":3}`)
	d.awaitStatus(blipped.ID, tasks.StatusCompleted)
}

// TestOperatorsHands maps what asynqmon is asked to do onto jobs.
func TestOperatorsHands(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	route := func(queue, set, id, verb string) string {
		return fmt.Sprintf("/queues/%s/%s_tasks/%s:%s", queue, set, id, verb)
	}

	failed := d.simulated(`{"fail":"validation","times":1}`)
	archived := d.find(failed.ID, tasks.QueueSubmitDefault, "archived")
	status, body := d.ask("POST", route(tasks.QueueSubmitDefault, "archived", archived.ID, "run"), "")
	require.Less(t, status, 300, body)
	d.awaitStatus(failed.ID, tasks.StatusCompleted)

	unresolved := d.simulated(`{"lose_answer":true}`)
	archived = d.find(unresolved.ID, tasks.QueueSubmitDefault, "archived")
	status, body = d.ask("POST", route(tasks.QueueSubmitDefault, "archived", archived.ID, "run"), "")
	require.Less(t, status, 300, body)
	d.awaitStatus(unresolved.ID, tasks.StatusUnresolved)
	require.Len(t, d.do("GET", "/v1/jobs/"+unresolved.ID, "").job(t).Attempts, 1, "a click never buys again")

	for _, verb := range []string{"delete", "archive"} {
		waiting := d.simulated(`{"fail":"overloaded","retry_after_ms":60000}`)
		task := d.find(waiting.ID, tasks.QueueSubmitDefault, "retry")
		method, path := "POST", route(tasks.QueueSubmitDefault, "retry", task.ID, "archive")
		if verb == "delete" {
			method, path = "DELETE", fmt.Sprintf("/queues/%s/retry_tasks/%s", tasks.QueueSubmitDefault, task.ID)
		}
		status, body = d.ask(method, path, "")
		require.Less(t, status, 300, "%s: %s", verb, body)
		d.awaitStatus(waiting.ID, tasks.StatusCanceled)
	}

	var batch []string
	var ids []string
	for range 3 {
		waiting := d.simulated(`{"fail":"overloaded","retry_after_ms":60000}`)
		batch = append(batch, d.find(waiting.ID, tasks.QueueSubmitDefault, "retry").ID)
		ids = append(ids, waiting.ID)
	}
	raw, err := json.Marshal(map[string]any{"task_ids": batch})
	require.NoError(t, err)
	status, body = d.ask("POST", "/queues/"+tasks.QueueSubmitDefault+"/retry_tasks:batch_delete", string(raw))
	require.Equal(t, http.StatusOK, status, body)
	for _, id := range ids {
		d.awaitStatus(id, tasks.StatusCanceled)
	}

	for method, path := range map[string]string{
		"DELETE": "/queues/" + tasks.QueuePoll,
		"POST":   "/queues/" + tasks.QueueSubmitDefault + "/archived_tasks:run_all",
	} {
		status, body = d.ask(method, path, "")
		require.GreaterOrEqual(t, status, 400, "%s %s", method, path)
		require.NotEmpty(t, body, "a refusal says why")
	}
}

// TestOperatorsErrand does in a browser what an operator does: sign in, find the
// failed job among the queues with its error, press Run, see it complete.
func TestOperatorsErrand(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	failed := d.simulated(`{"fail":"validation","times":1}`)
	id := d.find(failed.ID, tasks.QueueSubmitDefault, "archived").ID
	d.submit(`{"prompt":"x"}`)

	b := browsertest.Open(t, d.pages)
	b.Do(chromedp.Navigate(d.pages+"/"), chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)))
	b.Do(chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), "ada"),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), operatorsPassword), chromedp.Click(chromedp.CSS("button.primary")))
	b.Says("Queues")
	b.Shot("app-overview")
	b.Visit("/queues/queues/submit:default?status=archived", "validation")
	b.Shot("app-archived")
	b.PressRun(id)
	d.awaitStatus(failed.ID, tasks.StatusCompleted)
	b.Visit("/jobs", "completed")
	b.Shot("app-jobs")
	b.Visit("/jobs/"+failed.ID, "completed")
	b.Shot("app-job")
	b.Quiet()
}
