package policy

// Remembered is how many scopes a Set holds an answer for.
func (s *Set) Remembered() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.memo)
}
