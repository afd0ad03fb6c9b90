package spool

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// appendUntilKilled is the process that TestAKilledProcess kills. It says on
// its output what it was told to be written.
func appendUntilKilled(dir string) {
	s, _, err := Open(Config{Dir: dir, Replica: "a", SegmentBytes: 64 << 10, MaxBytes: 64 << 20})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	say := func(what string, n uint32) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(what, n)
	}
	for i := range uint32(8) {
		go func() {
			for n := i; ; n += 8 {
				if s.WriteOpen(key(n), fmt.Appendf(nil, "open %d", n)) != nil {
					return
				}
				say("open", n)
				if n%5 == 0 {
					continue // stays open
				}
				if _, err := s.WriteClose(context.Background(), key(n), fmt.Appendf(nil, "close %d", n), nil, Durability(n%3)); err != nil {
					return
				}
				say("close", n)
			}
		}()
	}
	select {}
}

// A process is killed while it writes. Every CLOSE that it was told to be
// written is there, and every OPEN that was not closed is in doubt.
func TestAKilledProcessLosesNothingItWasToldIsWritten(t *testing.T) {
	for round := range 5 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "SPOOL_TEST_KILL_ME="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		opened, closed := map[Key]string{}, map[Key]string{}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var what string
			var number uint32
			if _, err := fmt.Sscan(lines.Text(), &what, &number); err != nil {
				break // killed in mid-line
			}
			if what == "open" {
				opened[key(number)] = fmt.Sprint("open ", number)
			} else {
				closed[key(number)] = fmt.Sprint("close ", number)
			}
			if n == 300+round*977 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		s, report, err := Open(Config{Dir: dir, Replica: "a"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range pending(t, s) {
			want := opened
			if !e.Abandoned {
				want = closed
			}
			if w, ok := want[e.Key]; ok && w != string(e.Payload) {
				t.Errorf("%s is %q; want %q", e.Key, e.Payload, w)
			}
			delete(opened, e.Key)
			if !e.Abandoned {
				delete(closed, e.Key)
			}
		}
		if len(opened)+len(closed) > 0 {
			t.Errorf("round %d: the process was told that %d OPENs and %d CLOSEs are written that are not: %+v", round, len(opened), len(closed), report)
		}
		if len(closed) == 0 && report.Closed < 100 {
			t.Errorf("round %d proves little: %+v", round, report)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
