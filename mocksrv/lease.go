package mocksrv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tapedeck/events"
	"tapedeck/internal/jobs"
	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

// lease is a dependency of a replay that this process mocks.
type lease struct {
	dependency string
	*jobs.Lease
	release func() // ends its renewal
}

// mock mocks those dependencies of a replay that this process can claim, until
// ctx is done.
func (r *replay) mock(ctx context.Context) {
	leases := r.claim(ctx)
	if len(leases) == 0 {
		return
	}
	r.metrics.lease(float64(len(leases)))
	defer r.metrics.lease(-float64(len(leases)))
	s, err := r.listen(ctx, leases)
	if err != nil {
		r.log.Error("mock", "error", err)
		r.fail(leases, err)
		return
	}
	r.ready(s)
	served := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go func() { served <- s.Run(serving) }()
	cause := r.awaitEnd(ctx, served)
	stop()
	if errors.Is(cause, errFinished) {
		<-served
		r.final(s, leases)
		return
	}
	r.fail(leases, cause)
	<-served
}

// claim claims what is asked for and nobody else has.
func (r *replay) claim(ctx context.Context) []lease {
	var leases []lease
	for _, d := range r.control.Dependencies {
		state, claimed, err := r.jobs.Claim(ctx, jobs.Key(jobs.Key("mock", r.control.ID), d))
		if err != nil {
			r.log.Warn("claim", "dependency", d, "error", err) // another may; else the replayer times out
			continue
		}
		if state != jobs.Claimed {
			continue
		}
		kept, release := claimed.Keep(ctx)
		context.AfterFunc(kept, func() {
			if cause := context.Cause(kept); errors.Is(cause, jobs.ErrLost) {
				r.end(cause)
			}
		})
		leases = append(leases, lease{d, claimed, release})
	}
	return leases
}

func (r *replay) listen(ctx context.Context, leases []lease) (*Server, error) {
	s, err := scenario.Open(ctx, r.deps.Archive, r.control.Scenario, r.control.Version)
	if err != nil {
		return nil, err
	}
	secrets, err := scenario.ServiceSecrets(r.Secrets, r.log)
	if err != nil {
		return nil, err
	}
	o := Options{Scenario: s, Host: r.Host, Latency: r.Latency, PassThrough: r.PassThrough, Secrets: secrets, Metrics: r.metrics, Log: r.log}
	for _, l := range leases {
		o.Dependencies = append(o.Dependencies, l.dependency)
	}
	return Listen(ctx, o)
}

// ready says where each dependency is mocked.
func (r *replay) ready(s *Server) {
	addresses, proxy := s.Addresses(), ""
	for _, a := range addresses {
		if a.Dependency == "" {
			proxy = r.advertised(a.Address)
		}
	}
	for _, a := range addresses {
		if a.Dependency == "" {
			continue
		}
		r.log.Info("mocking", "dependency", a.Dependency, "address", a.Address)
		r.announce(events.ReplayMocked{
			State: "ready", Proxy: proxy,
			MockResult: events.MockResult{Dependency: a.Dependency, Address: r.advertised(a.Address)},
		})
	}
}

// awaitEnd waits until the replay is over or can't be mocked any more, and says
// why.
func (r *replay) awaitEnd(ctx context.Context, served chan error) error {
	limit := time.NewTimer(r.MaxLease)
	defer limit.Stop()
	over := make(chan struct{})
	looking, stop := context.WithCancel(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		r.lookWhetherOver(looking, over)
	}()
	defer func() { stop(); <-looked }()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-over:
		return errFinished
	case <-limit.C:
		return errLease
	case err := <-served:
		served <- err
		return fmt.Errorf("listen: %w", err)
	}
}

// lookWhetherOver closes over when the replay was answered: a replayer that
// died can't say finish.
func (r *replay) lookWhetherOver(ctx context.Context, over chan<- struct{}) {
	for service.Sleep(ctx, lookEvery) {
		if result, err := r.jobs.Result(ctx, jobs.Key("replay", r.control.ID)); err == nil && result != nil {
			close(over)
			return
		}
	}
}

// final tells the counts and gives the dependencies back for ever.
func (r *replay) final(s *Server, leases []lease) {
	// Hosts that are no dependency come first: the replayer waits for the
	// dependencies only.
	results := s.Results()
	slices.SortStableFunc(results, func(a, b events.MockResult) int {
		return cmp.Compare(rank(leases, a), rank(leases, b))
	})
	for _, m := range results {
		m.Address = r.advertised(m.Address)
		r.announce(events.ReplayMocked{State: "final", MockResult: m})
	}
	r.giveBack(leases)
}

// rank is 1 for a dependency that is mocked, 0 for another host.
func rank(leases []lease, m events.MockResult) int {
	if slices.ContainsFunc(leases, func(l lease) bool { return l.dependency == m.Dependency }) {
		return 1
	}
	return 0
}

// fail says that the dependencies are not mocked, or no longer.
func (r *replay) fail(leases []lease, reason error) {
	for _, l := range leases {
		r.announce(events.ReplayMocked{State: "error", MockResult: events.MockResult{Dependency: l.dependency}, Error: reason.Error()})
	}
	r.giveBack(leases)
}

func (r *replay) giveBack(leases []lease) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	for _, l := range leases {
		l.release()
		if err := l.Finish(ctx, nil); err != nil {
			r.log.Warn("give back", "dependency", l.dependency, "error", err) // it ends by its age
		}
	}
}
