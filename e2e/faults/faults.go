package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tapedeck/internal/service"
)

// fault is something bad that passes: it holds its slots, does harm for a
// while, and undoes it.
type fault struct {
	name  string
	slots []*slot
	do    func(ctx context.Context, hold time.Duration) error
}

// faults are all that can be injected into s.
func faults(s *stack) []fault {
	if s.store != nil {
		return []fault{{"power cut", append(s.slots(), s.database.slot), s.powerCut}}
	}
	var all []fault
	end := func(sig syscall.Signal, word string, slots ...*slot) {
		for _, one := range slots {
			all = append(all, fault{word + " " + one.name, []*slot{one}, func(ctx context.Context, hold time.Duration) error {
				defer one.release()
				err := one.end(sig)
				service.Sleep(ctx, hold)
				return err
			}})
		}
	}
	ours := slices.Concat(s.workers, s.captures)
	end(syscall.SIGKILL, "kill", append(ours, s.broker, s.broker, s.s3, s.s3)...)
	end(syscall.SIGTERM, "end", ours...)
	for _, one := range append(ours, s.broker, s.s3) {
		all = append(all, fault{"pause " + one.name, []*slot{one}, func(ctx context.Context, hold time.Duration) error {
			one.signal(syscall.SIGSTOP)
			defer one.signal(syscall.SIGCONT)
			service.Sleep(ctx, 2*hold)
			return nil
		}})
	}
	for _, l := range s.links {
		all = append(all, l.faults()...)
	}
	all = append(all,
		fault{"poison", nil, s.poison},
		fault{"poison", nil, s.poison},
		fault{"cut database", nil, func(ctx context.Context, _ time.Duration) error { return s.database.cut(ctx) }},
		fault{"restart database", []*slot{s.database.slot}, func(ctx context.Context, hold time.Duration) error {
			return s.database.restart(ctx, hold, false)
		}},
		fault{"crash database", []*slot{s.database.slot}, func(ctx context.Context, hold time.Duration) error {
			return s.database.restart(ctx, hold, true)
		}})
	if s.disk != "" {
		all = append(all, fault{"fill disk", []*slot{s.broker}, s.fillDisk})
	}
	return all
}

// fillDisk takes the broker away and leaves the first capture no byte to spool.
func (s *stack) fillDisk(ctx context.Context, hold time.Duration) error {
	defer s.broker.release()
	filler := filepath.Join(s.disk, "filler")
	defer os.Remove(filler)
	f, err := os.Create(filler)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if err := s.broker.end(syscall.SIGKILL); err != nil {
		return err
	}
	service.Sleep(ctx, 2*hold)
	return nil
}

// injected counts what was done.
type injected struct {
	mu     sync.Mutex
	counts map[string]int
	errs   []string
}

func (i *injected) String() string {
	total := 0
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(i.counts)) {
		total += i.counts[name]
		parts = append(parts, fmt.Sprintf("%d %s", i.counts[name], name))
	}
	return fmt.Sprintf("%d faults: %s", total, strings.Join(parts, ", "))
}

// inject draws faults for d and returns when the last has passed. The seed
// fixes what is drawn and when; a fault whose slot is busy is left out.
func inject(ctx context.Context, s *stack, r *rand.Rand, d time.Duration) *injected {
	done := &injected{counts: map[string]int{}}
	all := faults(s)
	var wg sync.WaitGroup
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		f := all[r.IntN(len(all))]
		hold := time.Duration(r.IntN(4000)) * time.Millisecond
		pause := time.Duration(300+r.IntN(3000)) * time.Millisecond
		if unlock, free := lockAll(f.slots); free {
			wg.Go(func() {
				defer unlock()
				err := f.do(ctx, hold)
				done.mu.Lock()
				defer done.mu.Unlock()
				done.counts[f.name]++
				if err != nil {
					done.errs = append(done.errs, fmt.Sprintf("%s: %v", f.name, err))
				}
			})
		}
		service.Sleep(ctx, pause)
	}
	wg.Wait()
	s.broken = append(s.broken, done.errs...)
	return done
}

func lockAll(slots []*slot) (unlock func(), free bool) {
	var locked []*slot
	unlock = func() {
		for _, s := range locked {
			s.fault.Unlock()
		}
	}
	for _, s := range slots {
		if !s.fault.TryLock() {
			unlock()
			return nil, false
		}
		locked = append(locked, s)
	}
	return unlock, true
}
