package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/accounting"
)

// Store keeps the leases of all replicas beside the windows that they are
// slices of. Each method is one short transaction, and safe for concurrent use
// by several processes. All lock in one order: the replica's fence, then
// windows by their ids, then leases.
//
// A window's row is that of the ledger (id, budget, tenant, scope, unit,
// starts, ends, limit_amount, spent, overrun), with held renamed to
//
//	leased  INTEGER NOT NULL  -- the sum of the remainders of its leases
//
// and a lease is a row of its own:
//
//	replica      TEXT    NOT NULL  -- these three are its ID and primary key
//	incarnation  INTEGER NOT NULL
//	number       INTEGER NOT NULL
//	window_id    TEXT    NOT NULL  -- no foreign key: a lease may be closed before its window is known
//	granted      INTEGER NOT NULL  -- all that it was ever granted; only grows
//	returned     INTEGER NOT NULL  -- all that was ever given back; only grows
//	settled      INTEGER NOT NULL  -- all that settlements took; only grows
//	expires      INTEGER NOT NULL  -- by the store's clock; only grows
//	state        TEXT    NOT NULL  -- live, forfeited or closed; only moves to the right
//
// with an index on (window_id) where state is live, and one on (state,
// expires). Its remainder is granted - returned - settled, which is never
// negative, and leased of a window is the sum of the remainders of all its
// leases, whatever their state. One row a replica fences its processes:
//
//	replica      TEXT    PRIMARY KEY
//	incarnation  INTEGER NOT NULL  -- the newest that the store has heard of; only grows
//
// There is no constraint on spent + leased: a settlement is never refused. The
// fifth writer of these rows is whoever writes ledger lines: it applies the
// Settlements of a line, by their Apply, in the transaction that inserts the
// line and only where that insert inserted it.
type Store interface {
	// Grant grows and renews leases of one process, whose wants share a replica
	// and an incarnation, and answers each want in its place. It is keyed by the totals that it asks for: a lease that was
	// granted its Need is granted no more, so that a lost answer and a doubled
	// request change nothing, and no sequence number has to be kept. Where it
	// fails nothing was changed; a want that is refused is no failure and keeps
	// none of the others from being granted.
	//
	// First the fence: it fails with *FencedError where the replica's row has
	// an incarnation above the wants', and else raises it to theirs. Then for
	// each want, in the order of the windows' ids:
	//
	//   - A lease that is unknown is inserted: live, all totals zero.
	//   - A lease that is not live is answered as it stands and not changed.
	//   - A live one is renewed: expires = max(expires, now + ttl).
	//   - Where granted < Need, it grows. Let room = want.Window.Limit + adjusted
	//     - spent - leased, where spent, leased and adjusted of a rolling window
	//     are the sums over the buckets of its Series that begin at Since or
	//     later. Where Need - granted > room the want is refused: nothing is
	//     granted; unless it fits with the window's Grace, or Shadow is set: then
	//     the lease grows by Need - granted and the answer has the Excess. Else the lease grows by the greater of Need - granted and
	//     min(Wish - granted, room / (2 * live)), where live counts the live
	//     leases of the window, this one among them; leased grows by the same,
	//     and limit_amount becomes want.Window.Limit. The window's row is made
	//     where there is none.
	//
	// This is the only statement that adds to leased, and so the only guard.
	Grant(ctx context.Context, ttl time.Duration, wants []Want) ([]Grant, error)

	// Return takes back what leases do not need. Its totals are absolute: what
	// came before changes nothing.
	//
	// A closed lease is left alone. Of one that is live or forfeited, returned
	// becomes max(returned, Returned). Where Close is set it is closed too, and
	// whatever it was granted beyond Granted, by a grant whose answer never
	// came, is returned as well: returned += granted - Granted where that is
	// positive. Leased falls by what returned has grown. What then remains is
	// what settlements on their way will take. Closing a lease that is unknown
	// inserts it as closed, all totals zero and expires = now, so that a grant
	// which is still on its way finds it closed; an unknown lease is otherwise
	// left alone.
	Return(ctx context.Context, returns []Return) error

	// Sweep does what time does to leases, and returns how many it forfeited:
	//
	//   - A live lease with expires + Grace < now becomes forfeited, or closed
	//     where its remainder is zero. A remainder stays in leased: its holder
	//     may be alive and out of reach, and its calls still running.
	//   - The remainder of every lease that is not live, in a window that ended
	//     more than Keep ago, is returned, and the lease closed.
	//   - A closed lease without a remainder may be deleted when expires + Keep
	//     < now, since no request is under way for that long.
	//
	// It may be split over several transactions. All replicas may call it.
	Sweep(ctx context.Context, after Sweep) (forfeited int, err error)

	// Release ends what earlier processes of a replica left behind: it raises
	// the fence to the incarnation, and of every lease of the replica with a
	// lower one it returns the remainder and closes it. It is for a process
	// that has settled everything in the spool of its predecessors, which are
	// gone, under the same boot of the machine; another process, or the same
	// after a power cut, leaves the leases to be forfeited. It fails with
	// *FencedError where the fence is higher already.
	Release(ctx context.Context, replica string, incarnation int64) error

	// Reclaim ends a lease whose spool is lost, and returns what remained in it:
	// of a forfeited one, or of one that was closed while settlements were on
	// their way. With a line the remainder is charged: the line is inserted with
	// one allocation of it, spent grows and leased falls by it, and settled
	// grows; the line's cost is nil, since calls that were held in several
	// windows are lost in each. Without a line it is returned. Either way the
	// lease is closed. Where nothing remains it returns 0 and inserts no line.
	// It fails with ErrLive where the lease is live, or unknown.
	Reclaim(ctx context.Context, id ID, charge *accounting.Line) (int64, error)
}

// An ID names a lease. Its holder makes it, so that the first grant can be
// asked for twice.
type ID struct {
	// Replica is the name of a place with a spool of its own, Incarnation
	// counts the processes that ran there and Number the leases of a process,
	// both from 1. The zero ID is no lease.
	Replica     string
	Incarnation int64
	Number      int64
}

func (id ID) String() string {
	return fmt.Sprintf("%s/%d/%d", id.Replica, id.Incarnation, id.Number)
}

// A State says what may become of a lease.
type State string

// The states, in the only order in which a lease goes through them.
const (
	Live      State = "live"      // it may grow
	Forfeited State = "forfeited" // its holder was not heard of; what remains is kept for its settlements
	Closed    State = "closed"    // nothing new comes of it
)

// A Want asks for room in one window. Need and Wish are totals of what the
// lease was ever granted. Need is the least that is any use, and Wish, which is
// not below it, what would be good to have. A Need that is granted already asks
// for a renewal alone.
type Want struct {
	Lease  ID
	Window accounting.Window
	Need   int64
	Wish   int64
}

// A Grant is the answer to a want: the lease as it stands, and what its window
// holds now. It was refused where Granted is below what was needed.
type Grant struct {
	State   State
	Granted int64
	Spent   int64
	Leased  int64
	// Adjusted is what raises or lowers the window's limit beside the budget.
	Adjusted int64
	// Excess is set where the window had no room and granted all the same, since
	// its budget forgives or only watches.
	Excess *accounting.Excess
}

// A Return gives back room: Returned is the total of what the lease was ever
// returned. With Close the lease ends, and Granted is the total of what its
// holder knows to have been granted.
type Return struct {
	Lease    ID
	Window   string
	Returned int64
	Close    bool
	Granted  int64
}

// Sweep says how long leases are kept, by the store's clock: Grace beyond their
// expiry until they are forfeited, Keep beyond their end until nothing is known
// of them.
type Sweep struct {
	Grace, Keep time.Duration
}

// ErrLive says that a lease cannot be reclaimed since its holder may still use
// it.
var ErrLive = errors.New("the lease is live: only one whose holder is gone for longer than its time to live can be reclaimed")

// FencedError says that a newer process of the same replica has taken over.
type FencedError struct {
	Replica string
	// Incarnation is the newest that the store knows of.
	Incarnation int64
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("incarnation %d of replica %q has taken over: give each process of a replica a higher incarnation, and each replica a name of its own", e.Incarnation, e.Replica)
}

// A Settlement is what the end of one hold does to one lease and its window.
// It goes to the spool with the line that it belongs to.
type Settlement struct {
	// Lease is the zero ID where a soft budget let the call pass without one.
	Lease  ID
	Window string
	// Amount is what was used, and Uncovered the part of it that neither the
	// hold nor its lease had room for.
	Amount    int64
	Uncovered int64
}

// A Balance is what has become of a window's limit.
type Balance struct {
	Spent, Leased, Overrun int64
}

// Apply returns a window's balance after the settlement, and by how much the
// lease's settled grows. Limit is the window's, as of the last grant, and
// remainder the lease's, whatever its state; zero where the lease is unknown.
//
// What was used is taken from the lease as far as it goes, which turns leased
// into spent, and beyond it from the window's room. What lies past the limit of
// that second part is overrun. Nothing is ever refused. It fails only with
// accounting.ErrOverflow.
func (s Settlement) Apply(b Balance, remainder, limit int64) (Balance, int64, error) {
	covered := max(0, min(s.Amount-s.Uncovered, remainder))
	uncovered := s.Amount - covered
	spent, ok := accounting.AddInt64(b.Spent, s.Amount)
	taken, fits := accounting.AddInt64(spent, b.Leased-covered)
	if !ok || !fits {
		return b, 0, fmt.Errorf("window %s: %w", s.Window, accounting.ErrOverflow)
	}
	b.Spent, b.Leased = spent, b.Leased-covered
	b.Overrun += max(0, min(taken-limit, uncovered))
	return b, covered, nil
}
