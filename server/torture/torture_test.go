//go:build torture

package torture

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-gateway/weir/server/store/storetest"
)

var (
	duration = flag.Duration("for", 0, "how long TestTorture begins another round")
	seedFlag = flag.Uint64("seed", 0, "what chance begins with; 0 takes the time")
)

// What a token costs.
const (
	nanosIn  = 500
	nanosOut = 1500
)

// limits are leased ahead and never full (cap), leased ahead and full again and
// again (team, and batch to the last request), and asked for call by call (user).
var limits = fmt.Sprintf(tenant, "paced", "input: 0.50, output: 1.50") + `
kind: Budget
name: cap
tenant: acme
limit: 100 USD
window: total
---
kind: Budget
name: team
tenant: acme
per: label:team
limit: 0.003 USD
window: total
---
kind: Budget
name: batch
tenant: acme
per: label:batch
limit: 40 requests
window: total
---
kind: Budget
name: user
tenant: acme
per: end_user
limit: 5k tokens
window: rolling 1h
`

func chooseSeed(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d", seed)
	return seed
}

// mixed is a call of any kind: whole or streamed, left by its caller, past its
// deadline, under budgets that run full.
func mixed(chance *rand.Rand, number int) call {
	c := call{model: "paced", words: 5 + chance.IntN(60), stream: chance.IntN(3) > 0}
	c.most = int32(1 + c.words/2 + chance.IntN(c.words))
	switch chance.IntN(8) {
	case 0:
		c.stream, c.leave = true, 1+chance.IntN(c.words)
	case 1:
		c.within = time.Duration(50+chance.IntN(400)) * time.Millisecond
	}
	if chance.IntN(2) == 0 {
		c.labels = map[string]string{"team": fmt.Sprint(number / 100)}
	} else {
		c.labels = map[string]string{"batch": fmt.Sprint(number / 200)}
	}
	if chance.IntN(4) == 0 {
		c.endUser = fmt.Sprint("user-", number/200)
	}
	return c
}

// leased is a call under budgets that are leased ahead, which go on while the
// database is away.
func leased(chance *rand.Rand, number int) call {
	c := mixed(chance, number)
	c.endUser, c.labels = "", nil
	return c
}

// TestTorture kills replicas at random moments, cuts them off from PostgreSQL
// and crashes that, under load.
func TestTorture(t *testing.T) {
	seed := chooseSeed(t)
	f := startFleet(t, 3, "commit", limits)
	callers := f.gather(32, seed, mixed)
	chance := rand.New(rand.NewPCG(seed, 1<<32))
	done := map[string]int{}
	for begin, round := time.Now(), 0; round == 0 || time.Since(begin) < *duration; round++ {
		for _, i := range chance.Perm(len(disturbances)) {
			callers.wait(t, nil, 10+chance.IntN(30))
			disturbances[i].do(callers, f.replicas[chance.IntN(len(f.replicas))], chance)
			done[disturbances[i].name]++
		}
	}
	f.replicas[0].end(syscall.SIGKILL) // one more, so that calls are in doubt whatever chance was
	done["kill"]++
	all := callers.disperse()
	f.settle()
	b := f.read(all)
	oks, nanos := b.check()
	if oks > 0 || nanos > 0 {
		t.Errorf("%d calls got an OK and have no line; what has none cost the backend %d nanos", oks, nanos)
	}
	for _, w := range b.windows {
		if w.leased != 0 {
			t.Errorf("window %s still has %d leased", w.id, w.leased)
		}
	}
	b.summary()
	t.Logf("disturbed by: %s; %d calls in doubt, %d cut", tally(done), b.inDoubt, b.cut)
	if b.inDoubt == 0 || b.cut == 0 || b.fullest < 100 {
		t.Error("no call was killed, or none cut, or no budget was full: the run has shown nothing")
	}
}

// disturbances are what TestTorture does, all of them in each round.
var disturbances = []struct {
	name string
	do   func(*crowd, *replica, *rand.Rand)
}{
	{"kill", kill},
	{"kill twice", func(c *crowd, r *replica, chance *rand.Rand) { kill(c, r, chance); kill(c, r, chance) }},
	{"cut off", func(c *crowd, r *replica, chance *rand.Rand) { // it goes on with what it has leased
		r.proxy.cut(true)
		outage(c, nil, 5+chance.IntN(40))
		r.proxy.cut(false)
	}},
	{"mute", func(c *crowd, r *replica, chance *rand.Rand) {
		r.proxy.mute()
		outage(c, nil, 10+chance.IntN(60))
		r.proxy.cut(false)
	}},
	{"all cut off, and a kill", func(c *crowd, r *replica, chance *rand.Rand) {
		for _, r := range c.fleet.replicas {
			r.proxy.cut(true)
		}
		outage(c, nil, 5+chance.IntN(40))
		r.end(syscall.SIGKILL)
		for _, r := range c.fleet.replicas {
			r.proxy.cut(false)
		}
		r.start()
	}},
	{"crash of PostgreSQL", func(c *crowd, _ *replica, _ *rand.Rand) {
		crashed, err := storetest.Crash(bounded(c.fleet.t))
		if err != nil {
			c.fleet.t.Fatal(err)
		}
		if !crashed {
			c.fleet.t.Log("PostgreSQL is not the test's own, so it was not crashed")
		}
	}},
}

func kill(_ *crowd, r *replica, _ *rand.Rand) {
	r.end(syscall.SIGKILL)
	r.start()
}

// longest is how long an outage lasts where nobody gets an OK any more.
const longest = 1500 * time.Millisecond

// outage lasts until so many calls of a replica have got an OK, or of all where
// it is nil; and for a moment at most, since what is leased may run out.
func outage(c *crowd, r *replica, enough int) {
	began := time.Now()
	wake := time.AfterFunc(longest, c.moved.Broadcast)
	defer wake.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for goal := c.count(r) + enough; c.count(r) < goal && time.Since(began) < longest; {
		c.moved.Wait()
	}
}

// TestALostDiskUnderStore deletes the data folder of a replica whose callers
// waited for the database: nobody who got an OK notices.
func TestALostDiskUnderStore(t *testing.T) {
	t.Parallel()
	seed := chooseSeed(t)
	f := startFleet(t, 3, "store", limits)
	callers := f.gather(16, seed, mixed)
	callers.wait(t, f.replicas[0], 20)
	name := f.replicas[0].lose()
	callers.wait(t, f.replicas[0], 10)
	all := callers.disperse()
	f.settle()
	b := f.read(all)
	oks, nanos := b.check()
	if oks > 0 {
		t.Errorf("%d calls got an OK and have no line", oks)
	}
	b.fits(name, nanos)
	b.summary()
}

// TestALostDiskUnderCommit does the same to a replica that was cut off from the
// database: what it had told its callers is gone, and is no more than what it
// had leased, which nobody else may spend.
func TestALostDiskUnderCommit(t *testing.T) {
	t.Parallel()
	seed := chooseSeed(t)
	f := startFleet(t, 3, "commit", limits)
	callers := f.gather(16, seed, leased)
	callers.wait(t, f.replicas[0], 20)
	f.replicas[0].proxy.cut(true)
	outage(callers, f.replicas[0], 10)
	name := f.replicas[0].lose()
	callers.wait(t, f.replicas[0], 10)
	all := callers.disperse()
	f.settle()
	b := f.read(all)
	oks, nanos := b.check()
	if oks == 0 {
		t.Error("the disk took no call that had got an OK: the run has shown nothing")
	}
	b.fits(name, nanos)
	b.summary()
	t.Logf("%d calls got an OK and are lost", oks)
	f.doctorNames(name)
}

// doctorNames waits until weir doctor names the forfeited leases of a replica,
// which is when they have ended, and says that no sum is wrong.
func (f *fleet) doctorNames(replica string) {
	f.t.Helper()
	f.replicas[0].start()
	defer f.replicas[0].end(syscall.SIGTERM)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for late := time.After(patience); ; {
		command := exec.Command(binary, "doctor", "-o", "json")
		command.Env = append(os.Environ(), "WEIR_ADDR="+f.replicas[0].address, "WEIR_KEY="+adminKey)
		out, _ := command.Output() // a warning is a code of its own
		var said struct {
			Verdict string
			Checks  []struct {
				Name     string
				Findings []string
			}
		}
		if err := json.Unmarshal(out, &said); err != nil {
			f.t.Fatalf("weir doctor says %q: %v", out, err)
		}
		if said.Verdict == "bad" {
			f.t.Fatalf("weir doctor says %s", out)
		}
		for _, check := range said.Checks {
			for _, finding := range check.Findings {
				if check.Name == "forfeited-leases" && strings.Contains(finding, replica) {
					f.t.Logf("weir doctor: %s", finding)
					return
				}
			}
		}
		select {
		case <-again.C:
		case <-late:
			f.t.Fatalf("weir doctor does not name the leases of %s: %s", replica, out)
		}
	}
}

// fits tells whether what is missing lies in what a lost replica had leased of
// the tenant's budget, and that is set aside still.
func (b *books) fits(replica string, missing int64) {
	const id = "acme/cap/tenant/total"
	left := b.leftover[[2]string{id, replica}]
	if missing > left {
		b.t.Errorf("calls for %d nanos are missing, and the lost replica has left leases of %d", missing, left)
	}
	for _, w := range b.windows {
		if w.id == id && w.leased != left {
			b.t.Errorf("window %s has %d leased, and the lost replica %d", id, w.leased, left)
		}
	}
	b.t.Logf("missing: calls for %d nanos, of leases of %d nanos that the lost replica has left", missing, left)
}
