package guard

// DefaultPolicy is the document that a Weir without a configuration begins
// with, and a place to start from: it keeps credentials and the numbers of
// cards, accounts and persons from going in or out, and stops what is very
// likely an attempt to turn the model around. It blocks no topic: which ones
// are out of place is for each operator to say.
const DefaultPolicy = `kind: Policy
name: default
safety:
  input:
    - {id: injection, guard: injection, at: 0.8, action: block}
    - {id: secrets-in, guard: secrets, action: redact}
    - {id: numbers-in, guard: pii, entities: [credit_card, cn_bank_card, iban, us_ssn, cn_resident_id], action: redact}
  output:
    - {id: secrets-out, guard: secrets, action: redact}
    - {id: numbers-out, guard: pii, entities: [credit_card, cn_bank_card, iban, us_ssn, cn_resident_id], action: redact}
`
