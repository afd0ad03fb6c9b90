// Package torture runs whole Weirs as processes, the way an operator does, and
// does to them what machines do: it kills them, cuts them off from their
// database, crashes that, and deletes a disk. Afterwards it compares three
// accounts that know nothing of each other: what callers were told, what the
// backend has really generated, and what stands in the database. It is tests
// only, built with the tag torture; `make torture` runs them.
//
// It imports nothing that a Weir computes its accounts with: the database is
// read as SQL, and the backend is a process of its own.
package torture
