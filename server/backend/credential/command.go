package credential

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// commandTime bounds a command, and drainTime what it leaves running.
const (
	commandTime = 10 * time.Second
	drainTime   = time.Second
)

// Command is the key that a program prints, without the white space around it.
// The program is not given to a shell. It runs at the first call, when the key is
// older than ttl, and where the server has refused the key; calls wait for it
// then. What it prints to standard error is dropped: it may hold a secret.
func Command(args []string, ttl time.Duration, now func() time.Time) Key {
	s := &source{lock: make(chan struct{}, 1), now: now}
	var got time.Time // when the program last gave a key
	s.due = func() bool { return s.now().Sub(got) >= ttl && s.now().Sub(s.fetched) >= retryFetch }
	s.fetch = func(ctx context.Context) (string, error) {
		running, cancel := context.WithTimeout(ctx, commandTime)
		defer cancel()
		c := exec.CommandContext(running, args[0], args[1:]...)
		c.WaitDelay = drainTime
		text, err := c.Output()
		var exit *exec.ExitError
		switch {
		case ctx.Err() == nil && running.Err() != nil:
			return "", fmt.Errorf("it took more than %s", commandTime)
		case errors.As(err, &exit):
			return "", fmt.Errorf("%s: run it by hand to see why", exit.ProcessState)
		case err != nil:
			return "", err
		case len(text) > maxKey:
			return "", errors.New("it says too much to be a key")
		}
		got = s.now()
		return strings.TrimSpace(string(text)), nil
	}
	return named(s.get, "key_command %s", args[0])
}
