package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// jobsPerPage is how many jobs the list shows.
const jobsPerPage = 50

// jobsPage is what the list's template shows.
type jobsPage struct {
	Jobs     []*tasks.Job
	Tenants  []string
	Tenant   string
	Statuses []statusTab
	Provider string
	Feature  string
	User     string
	Filtered bool
	Next     string // URL of the next page, or empty
	Problem  string
}

// statusTab is one choice of the filter by status.
type statusTab struct {
	Name   string
	Status tasks.Status
	URL    string
	On     bool
}

func (s *server) listJobs(w http.ResponseWriter, r *http.Request) {
	query := s.jobsQuery(r.URL.Query())
	page := jobsPage{
		Tenants: s.Tenants, Tenant: query.Tenant, Provider: query.ProviderID,
		Feature: string(query.FeatureType), User: query.UserID,
		Statuses: statusTabs(r.URL.Query(), query.Statuses),
		Filtered: query.ProviderID != "" || query.FeatureType != "" || query.UserID != "",
	}
	status := http.StatusOK
	found, err := s.Jobs.List(r.Context(), query)
	switch {
	case errors.Is(err, orchestrator.ErrBadCursor):
		status, page.Problem = http.StatusBadRequest, "This page of the list does not exist. Start from the newest jobs."
	case err != nil:
		s.Logger.Error("dashboard jobs", zap.Error(err))
		status, page.Problem = refusal(err)
	}
	page.Jobs = found.Jobs
	if found.NextCursor != "" {
		page.Next = "/jobs?" + with(r.URL.Query(), "cursor", found.NextCursor).Encode()
	}
	s.render(w, r, status, "jobs", "Jobs", page)
}

// jobsQuery reads the filters. A tenant that is not one of ours is the first of
// ours.
func (s *server) jobsQuery(form url.Values) orchestrator.Query {
	query := orchestrator.Query{
		Tenant: s.Tenants[0], UserID: form.Get("user"), FeatureType: tasks.Feature(form.Get("feature")),
		ProviderID: form.Get("provider"), Limit: jobsPerPage, Cursor: form.Get("cursor"),
	}
	if tenant := form.Get("tenant"); slices.Contains(s.Tenants, tenant) {
		query.Tenant = tenant
	}
	if status := tasks.Status(form.Get("status")); slices.Contains(tasks.Statuses, status) {
		query.Statuses = []tasks.Status{status}
	}
	return query
}

func statusTabs(form url.Values, chosen []tasks.Status) []statusTab {
	form = with(form, "cursor", "")
	tabs := []statusTab{{Name: "all", URL: "/jobs?" + with(form, "status", "").Encode(), On: len(chosen) == 0}}
	for _, status := range tasks.Statuses {
		tabs = append(tabs, statusTab{
			Name: string(status), Status: status, URL: "/jobs?" + with(form, "status", string(status)).Encode(),
			On: slices.Contains(chosen, status),
		})
	}
	return tabs
}

// with returns a copy of form in which key has the value, or is gone.
func with(form url.Values, key, value string) url.Values {
	changed := url.Values{}
	for k, v := range form {
		changed[k] = v
	}
	changed.Del(key)
	if value != "" {
		changed.Set(key, value)
	}
	return changed
}
