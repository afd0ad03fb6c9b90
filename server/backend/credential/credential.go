// Package credential gives drivers the keys of their servers, where these are
// not written down once and for all: from a file that is replaced, or from a
// command that prints one. It keeps keys in memory alone, and no error of it
// holds one, nor what a command or a file has said instead.
package credential

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Key returns the key to send to a server. Refused is "", or the key that the
// server has just refused: then the answer is another one where there is one, and
// the same where there is not. It is safe for concurrent use. It may wait, and
// fails with the context's error or one that names what to look at.
type Key func(ctx context.Context, refused string) (string, error)

// Check says why a key cannot be sent in a header.
func Check(key string) error {
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("key has a space, a line break or a letter that a header cannot hold: copy it again")
	}
	return nil
}

// source is what files and commands have in common: one key that is kept, and
// fetched anew when it is time. Its lock is a channel, since who waits for it may
// be told to stop.
type source struct {
	lock chan struct{}
	now  func() time.Time
	// due tells whether the key is to be fetched anew, and fetch does it.
	due   func() bool
	fetch func(ctx context.Context) (string, error)

	key     string
	fetched time.Time // the last time that it was tried
}

// retryFetch is how long a key that cannot be fetched anew goes on as it is
// before that is tried again.
const retryFetch = 5 * time.Second

// get is the source's Key. A key that cannot be fetched anew goes on until the
// server refuses it.
func (s *source) get(ctx context.Context, refused string) (string, error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	turnedDown := refused != "" && refused == s.key
	if s.key != "" && !turnedDown && !s.due() {
		return s.key, nil
	}
	key, err := s.fetch(ctx)
	s.fetched = s.now()
	if err == nil {
		err = usable(key)
	}
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		s.key = key
	case s.key == "" || turnedDown:
		return "", err
	}
	return s.key, nil
}

func usable(key string) error {
	if key == "" {
		return errors.New("it gives no key")
	}
	if Check(key) != nil {
		return errors.New("what it gives is no key: it has a space, a line break or a letter that a header cannot hold")
	}
	return nil
}

// named says where an error comes from.
func named(key Key, format string, args ...any) Key {
	return func(ctx context.Context, refused string) (string, error) {
		k, err := key(ctx, refused)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf(format+": %w", append(args, err)...)
		}
		return k, err
	}
}
