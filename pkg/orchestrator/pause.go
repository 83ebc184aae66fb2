package orchestrator

import "context"

// ProviderInfo describes one configured provider. ErrNoProvider when there is none
// of that name.
func (e *Engine) ProviderInfo(ctx context.Context, name string) (ProviderInfo, error) {
	infos, err := e.ProviderInfos(ctx)
	if err != nil {
		return ProviderInfo{}, err
	}
	for _, info := range infos {
		if info.Name == name {
			return info, nil
		}
	}
	return ProviderInfo{}, ErrNoProvider
}

// PauseProvider stops spending at a provider, on all workers and at once:
// submissions wait in line and cost no attempt. What is bought already is
// polled, copied and canceled as ever. ErrNoProvider when no such provider is
// configured.
func (e *Engine) PauseProvider(ctx context.Context, name string) error {
	if _, ok := e.Registry.Get(name); !ok {
		return ErrNoProvider
	}
	defer e.reports.expire()
	return e.Store.Pause(ctx, name)
}

// ResumeProvider ends a pause: those who waited are called up as fast as the
// provider's limits allow. What was held against its health is forgotten.
func (e *Engine) ResumeProvider(ctx context.Context, name string) error {
	if _, ok := e.Registry.Get(name); !ok {
		return ErrNoProvider
	}
	if err := e.Store.ForgetCircuits(ctx, name); err != nil {
		return err
	}
	e.reports.expire()
	return e.Store.Resume(ctx, name)
}
