// Package torture runs whole Weirs as processes, the way an operator does, and
// does to them what machines do: it kills them, cuts them off from their
// database, crashes that, and deletes a disk. Afterwards it compares three
// accounts that know nothing of each other: what callers were told, what the
// backend has really generated, and what stands in the database. It is tests
// only, built with the tag torture; `make torture` runs them.
//
// The comparison shares no code with what a Weir computes its accounts by: the
// ledger is read as SQL, and the backend is a process of its own. The store's
// own audit is run beside it.
package torture
