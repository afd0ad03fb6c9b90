package route

import "time"

// Hedge chooses a target for an attempt beside one that runs, as Next does, and
// takes a retry of the model's budget for it. It chooses none that is ejected or
// wishes to be left alone; false tells that no other is left, or no retry.
func (t *Tries) Hedge(now time.Time) (Try, bool) {
	if i, _ := t.choose(now.UnixNano()); i < 0 || !t.Again(now) {
		return Try{}, false
	}
	try, err := t.Next(now)
	if err != nil || try.Target == nil {
		t.Refund()
		return Try{}, false
	}
	return try, true
}

// Return lets the target of a try be chosen once more.
func (t *Tries) Return(try *Try) { t.left.add(try.place) }

// Refund gives the model a retry back that was taken and not made.
func (t *Tries) Refund() { t.model.retries.saved.Add(aRetry) }
