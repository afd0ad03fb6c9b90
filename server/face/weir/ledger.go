package weir

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

const (
	// mostCounted bounds how much of one kind is read from the store, and
	// mostFindings how much of it is told.
	mostCounted  = 1000
	mostFindings = 20
	// lateEntry is the age from which on an entry in the spool says that
	// something keeps it from the database, and tightSpool the hundredths of its
	// limit from which on the spool is called short of room.
	lateEntry  = time.Minute
	tightSpool = 80
)

// CheckLedger looks over what the ledger promises.
func (a *Accounting) CheckLedger(ctx context.Context, _ *weirv1.CheckLedgerRequest) (*weirv1.CheckLedgerResponse, error) {
	if err := a.onlyPlatform(ctx); err != nil {
		return nil, err
	}
	a.Settled(ctx)
	out := &weirv1.CheckLedgerResponse{}
	for _, check := range []func(context.Context) (*weirv1.LedgerCheck, error){
		a.checkSums, a.checkDeadLetters, a.checkForfeited, a.checkSilent, a.checkOverruns, a.checkSpool,
	} {
		c, err := check(ctx)
		if err != nil {
			return nil, a.away(err)
		}
		out.Checks = append(out.Checks, c)
		out.Verdict = max(out.Verdict, c.Verdict)
	}
	return out, nil
}

func (a *Accounting) checkSums(ctx context.Context) (*weirv1.LedgerCheck, error) {
	off, err := a.Ledger.Audit(ctx)
	return found("sums", weirv1.LedgerVerdict_LEDGER_VERDICT_BAD, off, "windows agree with their allocations, adjustments and leases",
		"sums that do not agree: %s. Keep a copy of the database, and tell whoever keeps Weir; budgets cannot be relied on until then"), err
}

func (a *Accounting) checkDeadLetters(ctx context.Context) (*weirv1.LedgerCheck, error) {
	n, err := a.Ledger.DeadLetters(ctx)
	c := verdict("dead-letters", weirv1.LedgerVerdict_LEDGER_VERDICT_OK, "the database has refused no entry")
	if n > 0 {
		c = verdict("dead-letters", weirv1.LedgerVerdict_LEDGER_VERDICT_BAD, fmt.Sprintf(
			"entries that the database refused, in no budget and no report: %d. `weir ledger dead-letters list` has the cause of each; when it is gone, `weir ledger dead-letters replay` keeps them", n))
	}
	return c, err
}

func (a *Accounting) checkForfeited(ctx context.Context) (*weirv1.LedgerCheck, error) {
	list, err := a.Ledger.Leases(ctx, lease.Query{State: lease.Forfeited, Limit: mostCounted})
	var off []string
	for _, l := range list {
		off = append(off, fmt.Sprintf("%s has %s of window %s", l.ID, accounting.FormatAmount(l.Window.Unit, l.Remainder()), l.Window.ID))
	}
	return found("forfeited-leases", weirv1.LedgerVerdict_LEDGER_VERDICT_WARN, off, "no lease is forfeited",
		"leases that are forfeited: %s. A start of Weir in their replica's data folder settles them; where that is lost, `weir lease reclaim` does"), err
}

func (a *Accounting) checkSilent(ctx context.Context) (*weirv1.LedgerCheck, error) {
	list, err := a.Ledger.Silences(ctx, mostCounted)
	var off []string
	for _, s := range list {
		off = append(off, fmt.Sprintf("%s holds something in leases of which the last ended at %s: %d", s.Replica, timeText(s.Since), s.Leases))
	}
	return found("silent-replicas", weirv1.LedgerVerdict_LEDGER_VERDICT_WARN, off, "every replica that holds leases was heard of",
		"replicas that hold leases and were not heard of: %s. Start Weir in their data folders, or reclaim what they hold (`weir lease list`)"), err
}

func (a *Accounting) checkOverruns(ctx context.Context) (*weirv1.LedgerCheck, error) {
	list, err := a.Ledger.Overruns(ctx, a.Now(), mostCounted)
	var off []string
	for _, w := range list {
		off = append(off, fmt.Sprintf("%s was overrun by %s", w.ID, accounting.FormatAmount(w.Unit, w.Overrun)))
	}
	return found("overruns", weirv1.LedgerVerdict_LEDGER_VERDICT_WARN, off, "no window of now was overrun",
		"windows of now that were overrun: %s. A backend used more than was held; look for a wrong `tokenizer` or price of its model"), err
}

func (a *Accounting) checkSpool(context.Context) (*weirv1.LedgerCheck, error) {
	stats, broken := a.Spool()
	used := fmt.Sprintf("%s of %s used", mebibytes(stats.Bytes), mebibytes(stats.MaxBytes))
	waiting := fmt.Sprintf("%d entries wait for the database", stats.Unflushed)
	if stats.Unflushed > 0 {
		waiting += fmt.Sprintf(", the oldest for %s", stats.OldestUnflushed.Round(time.Second))
	}
	told := waiting + ", " + used
	switch {
	case broken != nil:
		return verdict("spool", weirv1.LedgerVerdict_LEDGER_VERDICT_BAD, fmt.Sprintf("it is broken, and no call is taken here (%v): see to the disk, and start this replica again; %s", broken, told)), nil
	case stats.Unflushed > 0 && stats.OldestUnflushed >= lateEntry:
		told += ": see in the log why the database does not take them"
	case stats.Bytes >= stats.MaxBytes/100*tightSpool:
		told += ": where it is full no call begins"
	default:
		return verdict("spool", weirv1.LedgerVerdict_LEDGER_VERDICT_OK, told), nil
	}
	return verdict("spool", weirv1.LedgerVerdict_LEDGER_VERDICT_WARN, told), nil
}

func verdict(name string, v weirv1.LedgerVerdict, message string) *weirv1.LedgerCheck {
	return &weirv1.LedgerCheck{Name: name, Verdict: v, Message: message}
}

// found is a check of what should not be there. The text of what is wrong has a
// place for how much there is.
func found(name string, wrong weirv1.LedgerVerdict, off []string, sound, text string) *weirv1.LedgerCheck {
	if len(off) == 0 {
		return verdict(name, weirv1.LedgerVerdict_LEDGER_VERDICT_OK, sound)
	}
	many := strconv.Itoa(len(off))
	if len(off) >= mostCounted {
		many += " or more"
	}
	c := verdict(name, wrong, fmt.Sprintf(text, many))
	if c.Findings = off; len(off) > mostFindings {
		c.Findings = append(off[:mostFindings:mostFindings], fmt.Sprintf("and %d more", len(off)-mostFindings))
	}
	return c
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
