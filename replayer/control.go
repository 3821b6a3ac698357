package replayer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/scenariogen/scenario"
)

// States of a mock, see events.ReplayMocked.
const (
	mockReady = "ready"
	mockFinal = "final"
	mockError = "error"
)

// finalTimeout is how long mocks may take to tell their final counts.
const finalTimeout = 10 * time.Second

// conversation is what a replay's coordinator, its users and its mocks say to
// each other.
type conversation struct {
	*job
	consuming    jetstream.ConsumeContext
	dependencies []string // that are mocked

	mu     sync.Mutex
	states map[string]events.ReplayMocked // the last of each dependency
	news   chan struct{}                  // closed when states change
	ended  bool                           // finish was said
}

// listen hears of a cancel, and what the mocks say.
func (j *job) listen(ctx context.Context, cancel func(error)) (*conversation, error) {
	c := &conversation{job: j, states: map[string]events.ReplayMocked{}, news: make(chan struct{})}
	consumer, err := j.deps.JetStream.OrderedConsumer(ctx, events.StreamProgress, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.ReplayControlSubject(j.request.ID), events.ReplayMockedSubject(j.request.ID)},
		DeliverPolicy:  jetstream.DeliverAllPolicy, // a cancel may come before the replay begins
	})
	if err != nil {
		return nil, fmt.Errorf("listen to the replay's control: %w", err)
	}
	c.consuming, err = consumer.Consume(func(msg jetstream.Msg) { c.hear(msg, cancel) })
	if err != nil {
		return nil, fmt.Errorf("listen to the replay's control: %w", err)
	}
	return c, nil
}

func (c *conversation) stop() {
	c.consuming.Stop()
	<-c.consuming.Closed()
}

func (c *conversation) hear(msg jetstream.Msg, cancel func(error)) {
	e, err := events.Decode(msg.Subject(), msg.Headers(), msg.Data())
	if err != nil {
		c.log.Warn("control", "error", err)
		return
	}
	if strings.HasPrefix(msg.Subject(), "replay.mocked.") {
		if m, err := events.DecodeData[events.ReplayMocked](e); err == nil {
			c.note(m)
		}
		return
	}
	said, err := events.DecodeData[events.ReplayControl](e)
	if err == nil && said.Action == "cancel" {
		cancel(cancelReason(said))
	}
}

func cancelReason(said events.ReplayControl) error {
	if said.Reason == "" {
		return errCanceled
	}
	return fmt.Errorf("%w (%s)", errCanceled, said.Reason)
}

func (c *conversation) note(m events.ReplayMocked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states[m.Dependency] = m
	close(c.news)
	c.news = make(chan struct{})
}

// prepare asks for the mocks and waits until all are ready.
func (c *conversation) prepare(ctx context.Context, s *scenario.Scenario) error {
	if c.request.Mocks == nil {
		return nil
	}
	m := s.Manifest()
	c.dependencies = c.request.Mocks.Dependencies
	if len(c.dependencies) == 0 {
		for _, d := range m.Dependencies {
			c.dependencies = append(c.dependencies, d.Name)
		}
	}
	err := c.say(ctx, events.ReplayControl{Action: "prepare", Scenario: m.Name, Version: m.Version, Dependencies: c.dependencies})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.ReadyTimeout)
	defer cancel()
	if missing := c.await(ctx, mockReady); len(missing) > 0 {
		return fmt.Errorf("no mock of %s within %s: is a mocksrv running?", strings.Join(missing, ", "), c.ReadyTimeout)
	}
	return c.broken()
}

// await waits until each dependency is in the state, or in error, and names
// those that are not when ctx is done.
func (c *conversation) await(ctx context.Context, state string) (missing []string) {
	for {
		c.mu.Lock()
		news := c.news
		missing = slices.DeleteFunc(slices.Clone(c.dependencies), func(d string) bool {
			s := c.states[d].State
			return s == state || s == mockError
		})
		c.mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return missing
		case <-news:
		}
	}
}

// broken is the error of the first dependency that can't be mocked.
func (c *conversation) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.dependencies {
		if m := c.states[d]; m.State == mockError {
			return fmt.Errorf("mock of %s: %s", d, m.Error)
		}
	}
	return nil
}

// start tells everyone that the requests come now.
func (c *conversation) start(ctx context.Context) error {
	return c.say(ctx, events.ReplayControl{Action: "start"})
}

// finals asks the mocks for their final counts.
func (c *conversation) finals(ctx context.Context) ([]events.MockResult, error) {
	c.finish(ctx)
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	missing, broken := c.await(ctx, mockFinal), c.broken()
	c.mu.Lock()
	defer c.mu.Unlock()
	var results []events.MockResult
	for _, d := range c.dependencies {
		results = append(results, c.states[d].MockResult)
	}
	for d, m := range c.states { // hosts that are no dependency and were called all the same
		if !slices.Contains(c.dependencies, d) {
			results = append(results, m.MockResult)
		}
	}
	if len(missing) > 0 {
		return results, fmt.Errorf("the mock of %s was lost", strings.Join(missing, ", "))
	}
	return results, broken
}

// finish tells the mocks that the replay is over.
func (c *conversation) finish(ctx context.Context) {
	c.mu.Lock()
	said := c.ended || c.request.Mocks == nil
	c.ended = true
	c.mu.Unlock()
	if said {
		return
	}
	if err := c.say(ctx, events.ReplayControl{Action: "finish"}); err != nil {
		c.log.Warn("finish mocks", "error", err) // they find out by the job's key
	}
}

func (c *conversation) say(ctx context.Context, what events.ReplayControl) error {
	what.ID = c.request.ID
	subject := events.ReplayControlSubject(what.ID)
	e, err := events.NewEvent(subject, c.source, events.NewID(time.Now()).String(), what.ID, what)
	if err != nil {
		return err
	}
	return events.Publish(ctx, c.deps.JetStream, subject, e)
}
