package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// cancels is how many callers of a subject leave, one after the other.
const cancels = 50

// departures are when the calls of the backend's silent model ended, in Unix
// nanoseconds. GET /departures takes them.
type departures struct {
	mu  sync.Mutex
	all []int64
}

func (d *departures) note() {
	now := time.Now().UnixNano()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, now)
}

func (d *departures) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = json.NewEncoder(w).Encode(d.all) // a client that has gone asks again
	d.all = nil
}

// cancelStreams has callers leave after the first text, and tells how long it
// took until the backend heard of each, sorted. Both ends read one clock.
func (m *measured) cancelStreams(ctx context.Context, backend *subject) (took []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for range cancels {
		var left time.Time
		calling, leave := context.WithCancel(ctx)
		_, err := m.client.stream(calling, 0, silent, func() {
			left = time.Now()
			leave()
		})
		leave()
		if left.IsZero() {
			return nil, fmt.Errorf("it ended before its first text: %w", err)
		}
		at, err := await(ctx, backend, 1)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Unix(0, at[0]).Sub(left))
	}
	slices.Sort(took)
	return took, nil
}

// await waits until so many calls have ended at the backend.
func await(ctx context.Context, backend *subject, n int) (all []int64, err error) {
	for len(all) < n {
		at, err := heard(ctx, backend)
		if err != nil {
			return nil, err
		}
		all = append(all, at...)
	}
	return all, nil
}

// heard takes what the backend has noted.
func heard(ctx context.Context, backend *subject) (at []int64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+backend.http+"/departures", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return at, json.NewDecoder(answer.Body).Decode(&at)
}
