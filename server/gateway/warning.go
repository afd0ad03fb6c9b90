package gateway

// A Warning is something that the caller should know of an answer that is an
// answer all the same.
type Warning struct {
	Code    WarningCode
	Message string
	// Field is the field of the request that it is about, as weir.v1 names it;
	// empty for none.
	Field string
	// Candidate is the one that it is about; -1 for none.
	Candidate int
}

// A WarningCode names what a warning is about, as WarningCode of weir.v1 does.
type WarningCode string

// The codes.
const (
	SchemaMismatch   WarningCode = "SCHEMA_MISMATCH"
	SchemaUnchecked  WarningCode = "SCHEMA_UNCHECKED"
	MediaUnseen      WarningCode = "MEDIA_UNSEEN"
	ParameterDropped WarningCode = "PARAMETER_DROPPED"
)

func (a *Answer) warn(code WarningCode, field, message string) {
	a.Warnings = append(a.Warnings, Warning{Code: code, Message: message, Field: field, Candidate: -1})
}
