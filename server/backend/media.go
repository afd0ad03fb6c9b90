package backend

// A Modality is a kind of content that is no text.
type Modality string

// The modalities.
const (
	Image Modality = "image"
	Audio Modality = "audio"
	Video Modality = "video"
	File  Modality = "file" // a document, such as a PDF
)

// Modalities lists them in a fixed order.
func Modalities() []Modality { return []Modality{Image, Audio, Video, File} }

// A Media is content that is no text. A driver must not change it. It is either
// Data or a URL, from which the backend fetches it: the gateway does not.
type Media struct {
	Modality Modality
	// Type is the IANA media type, such as image/png. It is there beside Data.
	Type string
	Data []byte
	URL  string
	// Name is that of the file, or the title of the document; empty for none.
	Name string
	// Detail is how closely an image is looked at.
	Detail Detail
}

// A Detail is how closely an image is looked at, which sets its tokens. Empty
// is the model's default.
type Detail string

// The details.
const (
	DetailLow  Detail = "low"
	DetailHigh Detail = "high"
)

// Media returns the media of a request, in order.
func (r *Request) Media() []*Media {
	var all []*Media
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			if m := r.Messages[i].Parts[j].Media; m != nil {
				all = append(all, m)
			}
		}
	}
	return all
}
