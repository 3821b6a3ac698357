package capture

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// Run relays and records until ctx is done. Then it stops listening, lets
// requests under way finish, and brings every tape to NATS or the spool.
func (s *Service) Run(ctx context.Context) error {
	if err := s.openLedger(); err != nil {
		s.closeListeners()
		return err
	}
	work := context.WithoutCancel(ctx)
	var dissecting, publishing sync.WaitGroup
	dissected := make(chan struct{})
	for _, d := range s.dissectors {
		dissecting.Go(func() { d.run(dissected) })
	}
	watching, stopWatching := context.WithCancel(work)
	defer stopWatching()
	sending, stopSending := context.WithCancel(work)
	defer stopSending()
	publishing.Go(func() { s.publisher.run(sending) })
	var background sync.WaitGroup
	background.Go(func() { s.publisher.watch(watching) })
	background.Go(func() { s.publisher.drain(watching) })
	background.Go(func() { s.tick(watching) })
	for _, address := range s.cfg.GRPCReflection {
		background.Go(func() { s.reflect(watching, address) })
	}
	background.Go(func() { s.shareMemory(watching) })
	background.Go(func() { s.watchRedaction(watching) })

	err := s.accept(ctx)

	s.drainSessions()
	close(dissected)
	dissecting.Wait()
	late := time.AfterFunc(publishTimeout, stopSending) // the rest goes to the spool
	defer late.Stop()
	s.publisher.drainAll(sending) // so that the last header says what stays behind
	s.recorder.end()
	close(s.publisher.fresh)
	publishing.Wait()
	s.publisher.drainAll(sending)
	stopWatching()
	background.Wait()
	s.closeLedger()
	s.report()
	return err
}

func (s *Service) tick(ctx context.Context) {
	for service.Sleep(ctx, min(100*time.Millisecond, s.cfg.TapeAge)) {
		s.recorder.tick(time.Now())
	}
}

// accept takes connections until ctx is done.
func (s *Service) accept(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.closeListeners)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range s.listeners {
		s.log.Info("listening", "for", l.route.flag(), "address", l.route.listen, "upstream", l.route.upstream)
		g.Go(func() error { return s.acceptOn(ctx, l) })
	}
	if len(s.listeners) == 0 {
		<-ctx.Done()
	}
	err := g.Wait()
	s.closeListeners()
	return err
}

func (s *Service) acceptOn(ctx context.Context, l *listener) error {
	// Connections outlive ctx: they are drained.
	work := context.WithoutCancel(ctx)
	for backoff := time.Duration(0); ; {
		c, err := l.AcceptTCP()
		switch {
		case err == nil:
			backoff = 0
			if r, err := s.destination(c, l.route); err != nil {
				s.reject(c, r, err)
			} else {
				s.begin(work, c, r)
			}
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default: // out of files: those in use come back
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.log.Warn("accept", "address", l.route.listen, "error", err, "retry_in", backoff)
			service.Sleep(ctx, backoff)
		}
	}
}

func (s *Service) begin(ctx context.Context, c *net.TCPConn, r route) {
	name := r.direction.Name()
	ctx, cancel := context.WithCancel(ctx)
	n := &session{Service: s, route: r, client: c, cancel: cancel}
	n.relayed[events.Side_REQUEST] = s.metrics.relayed.WithLabelValues("request")
	n.relayed[events.Side_RESPONSE] = s.metrics.relayed.WithLabelValues("response")
	s.mu.Lock()
	s.sessions[n] = struct{}{}
	s.mu.Unlock()
	s.metrics.connections.WithLabelValues(name).Inc()
	s.relays.Go(func() {
		defer cancel()
		n.serve(ctx)
		s.metrics.connections.WithLabelValues(name).Dec()
		n.forgetSockets()
		s.mu.Lock()
		delete(s.sessions, n)
		s.mu.Unlock()
	})
}

// nextDissecting spreads connections over the dissecting goroutines.
func (s *Service) nextDissecting() *dissecting {
	return s.dissectors[s.turn.Add(1)%uint32(len(s.dissectors))]
}

// drainSessions ends connections as they fall quiet, and all of them at the
// deadline.
func (s *Service) drainSessions() {
	done := make(chan struct{})
	go func() { s.relays.Wait(); close(done) }()
	deadline := time.After(s.cfg.DrainTimeout)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-poll.C:
			s.endSessions(func(n *session) bool { return n.quiet(now.Add(-100 * time.Millisecond)) })
		case <-deadline:
			s.endSessions(func(*session) bool { return true })
			<-done
			return
		}
	}
}

func (s *Service) endSessions(which func(*session) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.sessions {
		if which(n) {
			n.end()
		}
	}
}

func (s *Service) report() {
	c := s.Counts()
	args := []any{"begun", c.Begun, "taped", c.Taped, "open", c.Open, "spooled_tapes", s.publisher.spool.Tapes()}
	for reason, n := range c.Dropped {
		args = append(args, "dropped_"+reason, n)
	}
	s.log.Info("capture ended", args...)
}
