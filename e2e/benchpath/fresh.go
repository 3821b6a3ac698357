package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"tapedeck/events/selector"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

// fresh measures how long after its answer has come an exchange is in the list,
// as a reader sees it: some are told apart by their paths and asked for until
// they are there.
func fresh(ctx context.Context, c config, x *index) error {
	var all processes
	defer all.kill()
	_, entry, err := all.startPath(ctx, c, x.dsn)
	if err != nil {
		return err
	}
	reader, err := traffic.OpenReader(ctx, x.dsn)
	if err != nil {
		return err
	}
	defer reader.Close()
	steady, stop := context.WithCancel(ctx)
	defer stop()
	var answered int
	done := make(chan struct{})
	go func() {
		defer close(done)
		answered = paced(steady, entry, c.rate)
	}()
	if !service.Sleep(ctx, 3*time.Second) {
		return ctx.Err()
	}
	waits, err := probes(ctx, entry, reader, c.last)
	stop()
	<-done
	if err != nil {
		return err
	}
	slices.Sort(waits)
	at := func(q float64) time.Duration { return waits[int(q*float64(len(waits)-1))] }
	fmt.Printf("%d exchanges in %.0f s (%.0f/s wanted), %d probes: in the list after %.2f s (p50), %.2f s (p99), %.2f s (max)\n",
		answered, (c.last + 3*time.Second).Seconds(), float64(c.rate), len(waits), at(0.5).Seconds(), at(0.99).Seconds(), at(1).Seconds())
	_, err = all.stop()
	return err
}

// paced sends requests at a rate and returns how many were answered.
func paced(ctx context.Context, address string, rate int) int {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	answered := 0
	turns := make(chan int)
	for range 64 {
		wg.Go(func() {
			for n := range turns {
				if get(ctx, client, fmt.Sprintf("http://%s/api/v1/items/%d", address, n%10_000)) == nil {
					mu.Lock()
					answered++
					mu.Unlock()
				}
			}
		})
	}
	began := time.Now()
	for n := 0; service.Sleep(ctx, time.Duration(n)*time.Second/time.Duration(rate)-time.Since(began)); n++ {
		select {
		case turns <- n:
		case <-ctx.Done():
		}
	}
	close(turns)
	wg.Wait()
	return answered
}

func get(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// probes are sent every 100 ms; each is waited for on its own.
func probes(ctx context.Context, address string, reader *traffic.Reader, last time.Duration) ([]time.Duration, error) {
	client := &http.Client{}
	var mu sync.Mutex
	var waits []time.Duration
	var failed error
	var wg sync.WaitGroup
	began := time.Now()
	for n := 0; time.Since(began) < last; n++ {
		path := fmt.Sprintf("/probe/%d", n)
		if err := get(ctx, client, "http://"+address+path); err != nil {
			return nil, err
		}
		answered := time.Now()
		wg.Go(func() {
			err := listed(ctx, reader, path, answered)
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, time.Since(answered))
			if err != nil {
				failed = err
			}
		})
		if !service.Sleep(ctx, 100*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
	wg.Wait()
	return waits, failed
}

// listed waits until the list has an exchange of a path.
func listed(ctx context.Context, reader *traffic.Reader, path string, since time.Time) error {
	s, err := selector.Parse(fmt.Sprintf("{path=%q}", path))
	if err != nil {
		return err
	}
	for time.Since(since) < time.Minute {
		page, err := reader.List(ctx, traffic.ListQuery{Query: traffic.Query{Selector: s, From: since.Add(-10 * time.Second), To: since.Add(time.Minute)}, Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Exchanges) > 0 {
			return nil
		}
		if !service.Sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s is not in the list after a minute", path)
}
