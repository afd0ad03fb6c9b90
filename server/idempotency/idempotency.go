// Package idempotency lets a caller repeat a call without being answered, or
// charged, twice. A call that brings an idempotency key claims it in the store
// before it begins, and leaves its answer there where the caller's policies let
// answers be kept. Another call with the key is then told one of these:
//
//   - It asks for something else: the key is taken.
//   - The first is still running: come again.
//   - The first was answered: here is the answer, or, where nothing was kept, that
//     there was one.
//   - The first is over and nobody got its answer: the claim is the new call's. So
//     it is where the process that ran it was fenced before it could say, and the
//     ledger has no answer of it.
//
// What a call generated that failed, was cancelled or died is charged as it
// would be without a key; a key has at most one answer, and that is charged once.
//
// A key is of one tenant's project: the same text is another key elsewhere. The
// store never sees it. It finds a claim by a hash of it, and what it keeps is
// sealed under the key itself, so that nobody who has the database alone can
// read an answer; a key that can be guessed is no secret, though, and should be
// a random one.
//
// It knows no text and no gateway: what is asked and what is answered are bytes
// to it.
package idempotency

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"
)

// Lifetime is how long after a claim its key is remembered.
const Lifetime = 24 * time.Hour

// SweepEvery is how often claims that have ended should be forgotten.
const SweepEvery = time.Minute

// A Claim says whose a key is.
type Claim struct {
	// ID finds the claims of one key.
	ID [sha256.Size]byte
	// Asks is the mark of what is asked, by Key.Mark.
	Asks []byte
	// RequestID is that of the call; no two calls ever have the same.
	RequestID string
	// Replica and Incarnation are the process that runs the call, as the leases of
	// budgets have them.
	Replica     string
	Incarnation int64
	// Busy is how long the call can be running at the most, and Keep how long the
	// key is remembered.
	Busy, Keep time.Duration
}

// A State says what became of a claim.
type State int

// The states.
const (
	Granted  State = iota // the key is the caller's: it runs
	Other                 // it is of a call that asks for something else
	Running               // it is of one that may still be running
	Answered              // it is of one that was answered
)

// A Standing is what a claim has met.
type Standing struct {
	State State
	// RequestID is the call whose the key is, the caller's own where it is
	// Granted.
	RequestID string
	// Answer is the sealed answer of one that was Answered, nil where none was kept.
	Answer []byte
}

// A Store keeps claims for all replicas. It is safe for concurrent use.
type Store interface {
	// ClaimKey claims a key, by the store's clock and in one transaction. A claim that
	// came already, or that is older than its Keep, is in nobody's way, nor is one
	// whose process was fenced, or whose Busy has passed, and of which the ledger
	// has no attempt that was answered.
	ClaimKey(ctx context.Context, c Claim) (Standing, error)
	// AnswerKey ends a claim with its call's sealed answer, or nil where none is to be
	// kept. A claim that is another call's by now is left alone.
	AnswerKey(ctx context.Context, id [sha256.Size]byte, requestID string, sealed []byte) error
	// ReleaseKey ends the claim of a call that has no answer. Otherwise it is as
	// AnswerKey.
	ReleaseKey(ctx context.Context, id [sha256.Size]byte, requestID string) error
	// SweepClaims forgets claims that have ended, and returns how many.
	SweepClaims(ctx context.Context) (int64, error)
}

// A Key is what one caller calls a call by.
type Key struct {
	ID     [sha256.Size]byte
	secret []byte
	scope  string
}

// NewKey returns the key of a text in a tenant's project.
func NewKey(tenant, project, text string) Key {
	k := Key{secret: []byte(text), scope: fmt.Sprintf("%d:%s%d:%s", len(tenant), tenant, len(project), project)}
	copy(k.ID[:], k.derive("id"))
	return k
}

// derive returns bytes that tell nothing of the key, or of what is derived for
// another purpose (HKDF, RFC 5869).
func (k *Key) derive(purpose string) []byte {
	b, err := hkdf.Key(sha256.New, k.secret, nil, "weir idempotency "+purpose+" "+k.scope, sha256.Size)
	if err != nil { // only lengths that are not ours fail
		panic(err)
	}
	return b
}

// Mark is the same for two that ask for the same, and for no others.
func (k *Key) Mark(asks []byte) []byte {
	mac := hmac.New(sha256.New, k.derive("mark"))
	mac.Write(asks)
	return mac.Sum(nil)
}

// Seal encrypts an answer of a call (AES-256-GCM). Only the same key opens it,
// for the same call.
func (k *Key) Seal(requestID string, answer []byte) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(answer)+aead.Overhead())
	rand.Read(nonce) // never fails
	return aead.Seal(nonce, nonce, answer, []byte(requestID)), nil
}

// Open returns what was sealed. It fails where it is not what Seal returned.
func (k *Key) Open(requestID string, sealed []byte) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("the kept answer of call %s has %d bytes, too few to be one", requestID, len(sealed))
	}
	answer, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(requestID))
	if err != nil {
		return nil, fmt.Errorf("the kept answer of call %s is damaged: %w", requestID, err)
	}
	return answer, nil
}

func (k *Key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.derive("answer"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
