package providers

import (
	"errors"
	"fmt"
	"slices"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Selection is what a request says about who shall serve it.
type Selection struct {
	Feature    tasks.Feature
	ProviderID string // empty: chosen by capability and health
	Model      string // empty: the provider's default
	// Healthy says how a model at a provider fares. Nil means that all are well.
	Healthy func(name, model string) bool
}

// Select chooses the provider and the model for a request: the named one;
// else the first healthy one in the order that is configured for the feature, or
// the default provider and then those in configuration order; else, where none
// is healthy, the first as if all were. Demo providers
// are chosen by name only, or where there is no other provider at all.
//
// The error is a [*SelectionError].
func (r *Registry) Select(s Selection) (Entry, string, error) {
	if s.ProviderID != "" {
		return r.selectNamed(s)
	}
	offering := r.eligible(s.Feature)
	if len(offering) == 0 {
		return Entry{}, "", r.notOffered(s.Feature, "/feature_type")
	}
	if s.Model != "" {
		var err error
		if offering, err = withModel(offering, s.Feature, s.Model); err != nil {
			return Entry{}, "", err
		}
	}
	chosen := r.prefer(offering, s)
	return chosen, modelOr(s.Model, chosen, s.Feature), nil
}

func (r *Registry) selectNamed(s Selection) (Entry, string, error) {
	entry, err := r.named(s.Feature, s.ProviderID, "/provider_id")
	if err != nil {
		return Entry{}, "", err
	}
	if s.Model != "" {
		if _, err := withModel([]Entry{entry}, s.Feature, s.Model); err != nil {
			return Entry{}, "", err
		}
	}
	return entry, modelOr(s.Model, entry, s.Feature), nil
}

// named returns the provider that the field names, if it has the feature.
func (r *Registry) named(f tasks.Feature, name, field string) (Entry, error) {
	entry, ok := r.Get(name)
	if !ok {
		return Entry{}, &SelectionError{
			Kind: UnknownProvider, Field: field,
			Message: "no provider of this name is configured", Offered: namesOf(r.All()),
		}
	}
	if entry.Offers(f) {
		return entry, nil
	}
	offering := r.ForFeature(f)
	if len(offering) == 0 {
		return Entry{}, r.notOffered(f, "/feature_type")
	}
	return Entry{}, &SelectionError{
		Kind: FeatureNotOffered, Field: field,
		Message: "this provider does not offer the feature", Offered: namesOf(offering),
	}
}

// notOffered says that no provider may be chosen for the feature.
func (r *Registry) notOffered(f tasks.Feature, field string) error {
	if demos := r.ForFeature(f); len(demos) > 0 {
		return &SelectionError{
			Kind: FeatureNotOffered, Field: "/provider_id",
			Message: "only demonstration providers offer this feature, and they are used by name only", Offered: namesOf(demos),
		}
	}
	var offered []string
	for _, feature := range r.Features() {
		offered = append(offered, string(feature))
	}
	return &SelectionError{
		Kind: FeatureNotOffered, Field: field,
		Message: "no configured provider offers this feature", Offered: offered,
	}
}

// eligible lists who may be chosen for the feature without being named, in the
// order of preference: that which is configured for the feature, else the default
// provider first; then the order of the configuration.
func (r *Registry) eligible(f tasks.Feature) []Entry {
	all := r.All()
	order := r.orders[f]
	if order == nil && r.defaultProvider != "" {
		order = []string{r.defaultProvider}
	}
	onlyDemos := !slices.ContainsFunc(all, func(e Entry) bool { return !e.demo() })
	all = slices.DeleteFunc(all, func(e Entry) bool {
		// To be made the default, or to stand in an order, is to be named.
		allowed := !e.demo() || onlyDemos || e.Name == r.defaultProvider || slices.Contains(order, e.Name)
		return !allowed || !e.Offers(f)
	})
	rank := func(e Entry) int {
		if i := slices.Index(order, e.Name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return rank(a) - rank(b) })
	return all
}

// withModel keeps the entries that name the model; where none does, those that
// take any.
func withModel(entries []Entry, f tasks.Feature, model string) ([]Entry, error) {
	listing := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !e.lists(f, model) })
	if len(listing) > 0 {
		return listing, nil
	}
	open := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !e.takesAny(f) })
	if len(open) > 0 {
		return open, nil
	}
	var offered []string
	for _, entry := range entries {
		for _, m := range entry.ModelsFor(f) {
			if !slices.Contains(offered, m) {
				offered = append(offered, m)
			}
		}
	}
	return nil, &SelectionError{
		Kind: ModelNotOffered, Field: "/model",
		Message: "the model is not offered for this feature", Offered: offered,
	}
}

// prefer picks from a list that is not empty and stands in the order of
// preference.
func (r *Registry) prefer(entries []Entry, s Selection) Entry {
	for _, entry := range entries {
		if s.Healthy == nil || s.Healthy(entry.Name, modelOr(s.Model, entry, s.Feature)) {
			return entry
		}
	}
	return entries[0]
}

// Serves returns the model that the provider would serve a request with: the
// one that was asked for where it has that or takes any, else its default,
// unless the request is strict about it.
func (e Entry) Serves(f tasks.Feature, model string, strict bool) (string, bool) {
	if model == "" || e.lists(f, model) || e.takesAny(f) {
		return modelOr(model, e, f), true
	}
	return e.Model(f), !strict
}

// CheckFallbacks reports what is wrong with a request's fallback providers, one
// error for each.
func (r *Registry) CheckFallbacks(f tasks.Feature, ids []string) []*SelectionError {
	var problems []*SelectionError
	for i, id := range ids {
		field := fmt.Sprintf("/fallback_provider_ids/%d", i)
		var problem *SelectionError
		if _, err := r.named(f, id, field); errors.As(err, &problem) {
			problem.Field = field // where nobody has the feature, too
			problems = append(problems, problem)
		}
	}
	return problems
}

// Candidates lists, in order, who may serve a request: the named provider, if
// there is one, and then its fallbacks. A request that names neither may go to
// everybody who offers the feature, except to demo providers beside others.
// A named provider without fallbacks has no others: whoever names a provider
// may have reasons not to send a prompt elsewhere.
func (r *Registry) Candidates(f tasks.Feature, providerID string, fallbackIDs []string) []Entry {
	if providerID == "" && len(fallbackIDs) == 0 {
		return r.eligible(f)
	}
	var candidates []Entry
	for _, name := range append([]string{providerID}, fallbackIDs...) {
		entry, ok := r.Get(name)
		known := slices.ContainsFunc(candidates, func(e Entry) bool { return e.Name == name })
		if ok && !known && entry.Offers(f) {
			candidates = append(candidates, entry)
		}
	}
	return candidates
}

func modelOr(model string, entry Entry, f tasks.Feature) string {
	if model != "" {
		return model
	}
	return entry.Model(f)
}

func namesOf(entries []Entry) []string {
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name
	}
	return names
}
