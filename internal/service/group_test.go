package service_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tapedeck/internal/service"
)

func TestGroupDrainsAllWhenOneFails(t *testing.T) {
	g := service.NewGroup(t.Context())
	drained := make(chan struct{})
	g.Go("listener", func(ctx context.Context) error {
		<-ctx.Done()
		close(drained)
		return ctx.Err() // being told to drain is no failure
	})
	g.Go("worker", func(context.Context) error { return errors.New("disk full") })
	err := g.Wait()
	<-drained
	if err == nil || !strings.Contains(err.Error(), "worker: disk full") || strings.Contains(err.Error(), "listener") {
		t.Errorf("Wait: %v, want the worker's error alone", err)
	}
}

func TestGroupDrainsAllWhenOneEnds(t *testing.T) {
	g := service.NewGroup(t.Context())
	g.Go("waits", func(ctx context.Context) error { <-ctx.Done(); return nil })
	g.Go("ends", func(context.Context) error { return nil })
	if err := g.Wait(); err != nil {
		t.Errorf("Wait: %v, want nil", err)
	}
}
