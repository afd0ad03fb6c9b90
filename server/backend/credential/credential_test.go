package credential

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func begin() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, key Key, refused, want string) {
	t.Helper()
	if got, err := key(t.Context(), refused); got != want || err != nil {
		t.Errorf("the key is %q, %v; want %q", got, err, want)
	}
}

// fails expects an error that names something and says no key.
func fails(t *testing.T, key Key, refused, names string) {
	t.Helper()
	got, err := key(t.Context(), refused)
	if got != "" || err == nil || !strings.Contains(err.Error(), names) || strings.Contains(err.Error(), "sk-") {
		t.Errorf("the key is %q, %v; want an error that names %q", got, err, names)
	}
}

func TestFile(t *testing.T) {
	path, c := filepath.Join(t.TempDir(), "key"), begin()
	key := File(path, c.now)
	fails(t, key, "", "key_file "+path+": no such file")
	put(t, path, "sk-one\n")
	expect(t, key, "", "sk-one")
	put(t, path, "sk-second\n")
	expect(t, key, "", "sk-one") // it was looked at just now
	c.pass(lookEvery)
	expect(t, key, "", "sk-second")
	// A key that was refused is read again at once.
	put(t, path, " sk-3rd ")
	expect(t, key, "sk-second", "sk-3rd")
	expect(t, key, "sk-second", "sk-3rd") // another call was refused too, with an older key
	expect(t, key, "sk-3rd", "sk-3rd")    // and there is no newer one
	// What is worse than before changes nothing, until the key is refused.
	put(t, path, "sk-half a key")
	c.pass(lookEvery)
	expect(t, key, "", "sk-3rd")
	fails(t, key, "sk-3rd", "no key: it has a space")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.pass(lookEvery)
	expect(t, key, "", "sk-3rd")
	put(t, path, "")
	fails(t, key, "sk-3rd", "gives no key")
}

// Kubernetes changes a secret by letting its name lead to another file.
func TestFileBehindALink(t *testing.T) {
	dir, c := t.TempDir(), begin()
	a, b, path := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "key")
	put(t, a, "sk-a")
	put(t, b, "sk-b")
	same := time.Now()
	for _, file := range []string{a, b} {
		if err := os.Chtimes(file, same, same); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(a, path); err != nil {
		t.Fatal(err)
	}
	key := File(path, c.now)
	expect(t, key, "", "sk-a")
	if err := errors.Join(os.Remove(path), os.Symlink(b, path)); err != nil {
		t.Fatal(err)
	}
	c.pass(lookEvery)
	expect(t, key, "", "sk-b")
}

// counting is a program that prints sk-1, sk-2 and so on, or what the file says
// that its second argument names.
func counting(t *testing.T) (args []string, instead string) {
	t.Helper()
	dir := t.TempDir()
	instead = filepath.Join(dir, "instead")
	script := `n=$(cat "$0.n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$0.n"
if [ -e "$1" ]; then . "$1"; else echo "sk-$n"; fi`
	path := filepath.Join(dir, "script")
	put(t, path, script)
	return []string{"/bin/sh", path, instead}, instead
}

func TestCommand(t *testing.T) {
	args, instead := counting(t)
	c := begin()
	key := Command(args, time.Minute, c.now)
	expect(t, key, "", "sk-1")
	c.pass(time.Minute - 1)
	expect(t, key, "", "sk-1")
	c.pass(1)
	expect(t, key, "", "sk-2")
	expect(t, key, "sk-2", "sk-3") // refused
	expect(t, key, "sk-2", "sk-3") // another call with the old one: it is not run again
	// Where it fails, the key goes on, and it is run again a little later.
	put(t, instead, "echo sk-secret; echo sk-secret >&2; exit 3")
	c.pass(time.Minute)
	expect(t, key, "", "sk-3")
	if err := os.Remove(instead); err != nil {
		t.Fatal(err)
	}
	c.pass(retryFetch - 1)
	expect(t, key, "", "sk-3")
	c.pass(1)
	expect(t, key, "", "sk-5") // the fourth failed
	put(t, instead, "echo sk-secret; exit 3")
	fails(t, key, "sk-5", "key_command /bin/sh: exit status 3: run it by hand")
	put(t, instead, "echo two words")
	fails(t, key, "sk-5", "a space")
	put(t, instead, "true")
	fails(t, key, "sk-5", "gives no key")
	fails(t, Command([]string{"weir-no-such-program"}, time.Minute, c.now), "", "not found")
}

func TestCommandsEndWithTheCall(t *testing.T) {
	key := Command([]string{"/bin/sh", "-c", "echo $$ > " + filepath.Join(t.TempDir(), "pid") + "; exec sleep 3600"}, time.Minute, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the second would wait for the first for ever
		if _, err := key(ctx, ""); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestOneCommandForManyCalls(t *testing.T) {
	args, _ := counting(t)
	key := Command(args, time.Hour, time.Now)
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() { expect(t, key, "", "sk-1") })
	}
	calls.Wait()
}

func TestHider(t *testing.T) {
	h := Hiding([]string{"Bearer top", "abc", "fixed-one"})
	h.Hide("key-1")
	h.Hide("key-1")
	for _, k := range []string{"key-2", "key-3", "key-4"} {
		h.Hide(k)
	}
	const text = "fixed-one key-1 key-2 key-3 key-4 abc Bearer top"
	if got := h.Replace(text); got != "[secret] [secret] [secret] [secret] [secret] abc [secret]" {
		t.Error(got)
	}
	h.Hide("key-22")
	if got := h.Replace("key-22 key-2"); got != "[secret] [secret]" {
		t.Error(got)
	}
	h.Hide("key-5")
	if got := h.Replace("key-1 key-3 key-5"); got != "key-1 [secret] [secret]" {
		t.Error(got)
	}
}
