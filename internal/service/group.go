package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Group runs the parts of a process together: when one fails or ctx is done,
// all others are told to drain.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	errs   []error
}

// NewGroup begins a group below ctx.
func NewGroup(ctx context.Context) *Group {
	ctx, cancel := context.WithCancel(ctx)
	return &Group{ctx: ctx, cancel: cancel}
}

// Context is done when the group drains.
func (g *Group) Context() context.Context { return g.ctx }

// Go runs a part. A part that is told to drain returns nil; any error, or nil
// while nobody asked it to end, drains the others.
func (g *Group) Go(name string, run func(context.Context) error) {
	g.wg.Go(func() {
		defer g.cancel()
		if err := run(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			g.mu.Lock()
			g.errs = append(g.errs, fmt.Errorf("%s: %w", name, err))
			g.mu.Unlock()
		}
	})
}

// Stop tells all parts to drain.
func (g *Group) Stop() { g.cancel() }

// Wait returns when all parts have ended, with the errors of those that failed.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.cancel()
	return errors.Join(g.errs...)
}
