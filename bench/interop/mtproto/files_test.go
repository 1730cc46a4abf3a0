package mtproto

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/gotd/td/bin"
	"github.com/gotd/td/tg"
	"github.com/gotd/td/tgerr"
	"github.com/gotd/td/tgtest"
	"github.com/gotd/td/tgtest/services"
	"github.com/gotd/td/tgtest/services/config"
)

const (
	maxChunk = 1 << 20  // of upload.getFile
	maxPart  = 32 << 10 // gotd's FakeTLS writes a part as one record, whose length is 16 bits
)

// files is what the data centres store: one file to be fetched, and whatever is uploaded. Any goroutine may call its methods.
type files struct {
	offered  []byte
	location tg.InputDocumentFileLocation

	mu      sync.Mutex
	uploads map[int64]*upload
}

// upload is a file that arrives in parts, in any order, perhaps more than once.
type upload struct {
	total int
	parts map[int][]byte
}

func newFiles(offered []byte) *files {
	return &files{
		offered:  offered,
		location: tg.InputDocumentFileLocation{ID: 0x5107ce, AccessHash: -71, FileReference: []byte("reference")},
		uploads:  map[int64]*upload{},
	}
}

// dispatcher answers requests as data centre id.
func (f *files) dispatcher(id int) *tgtest.Dispatcher {
	d := tgtest.NewDispatcher().Fallback(services.NotImplemented)
	// Clients behind a proxy must not use these addresses, so nothing is there.
	config.NewService(&tg.Config{DCOptions: unreachable(id)}, &tg.CDNConfig{}).Register(d)
	exported := tg.AuthExportedAuthorization{ID: 10, Bytes: []byte("authorization")}
	d.Result(tg.HelpGetNearestDCRequestTypeID, &tg.NearestDC{Country: "ZZ", ThisDC: id, NearestDC: id})
	d.Result(tg.AuthExportAuthorizationRequestTypeID, &exported)
	d.Result(tg.AuthImportAuthorizationRequestTypeID, &tg.AuthAuthorization{User: &tg.User{ID: exported.ID}})
	d.HandleFunc(tg.UploadGetFileRequestTypeID, f.getFile)
	d.HandleFunc(tg.UploadSaveFilePartRequestTypeID, f.savePart)
	d.HandleFunc(tg.UploadSaveBigFilePartRequestTypeID, f.saveBigPart)
	return d
}

// unreachable is a list of data centres with an address for documentation.
func unreachable(id int) []tg.DCOption {
	return []tg.DCOption{{ID: id, IPAddress: "192.0.2.1", Port: 443}}
}

func (f *files) getFile(server *tgtest.Server, req *tgtest.Request) error {
	var r tg.UploadGetFileRequest
	if err := r.Decode(req.Buf); err != nil {
		return err
	}
	switch l, ok := r.Location.(*tg.InputDocumentFileLocation); {
	case !ok || l.ID != f.location.ID || l.AccessHash != f.location.AccessHash:
		return tgerr.New(400, tg.ErrFileIDInvalid)
	case r.Limit < 1 || r.Limit > maxChunk || r.Offset < 0:
		return tgerr.New(400, tg.ErrLimitInvalid)
	}
	from := min(r.Offset, int64(len(f.offered)))
	to := min(from+int64(r.Limit), int64(len(f.offered)))
	return server.SendResult(req, &tg.UploadFile{Type: &tg.StorageFileUnknown{}, Bytes: f.offered[from:to]})
}

func (f *files) savePart(server *tgtest.Server, req *tgtest.Request) error {
	var r tg.UploadSaveFilePartRequest
	return f.save(server, req, &r, func() (int64, int, int, []byte) { return r.FileID, r.FilePart, -1, r.Bytes })
}

func (f *files) saveBigPart(server *tgtest.Server, req *tgtest.Request) error {
	var r tg.UploadSaveBigFilePartRequest
	return f.save(server, req, &r, func() (int64, int, int, []byte) { return r.FileID, r.FilePart, r.FileTotalParts, r.Bytes })
}

func (f *files) save(server *tgtest.Server, req *tgtest.Request, d bin.Decoder, fields func() (int64, int, int, []byte)) error {
	if err := d.Decode(req.Buf); err != nil {
		return err
	}
	id, number, total, content := fields()
	switch {
	case len(content) == 0:
		return tgerr.New(400, tg.ErrFilePartEmpty)
	case len(content) > maxPart:
		return tgerr.New(400, tg.ErrFilePartTooBig)
	}
	f.mu.Lock()
	u := f.uploads[id]
	if u == nil {
		u = &upload{parts: map[int][]byte{}}
		f.uploads[id] = u
	}
	u.total, u.parts[number] = total, content
	f.mu.Unlock()
	return server.SendBool(req, true)
}

// take forgets an upload and returns its length and its hash.
func (f *files) take(id int64) (int, [sha256.Size]byte, error) {
	f.mu.Lock()
	u := f.uploads[id]
	delete(f.uploads, id)
	f.mu.Unlock()
	if u == nil {
		return 0, [sha256.Size]byte{}, errors.New("no such upload")
	}
	if u.total != len(u.parts) {
		return 0, [sha256.Size]byte{}, fmt.Errorf("%d parts of %d", len(u.parts), u.total)
	}
	hash, size := sha256.New(), 0
	for i := range u.total {
		part, ok := u.parts[i]
		if !ok {
			return 0, [sha256.Size]byte{}, fmt.Errorf("part %d is missing", i)
		}
		n, _ := hash.Write(part)
		size += n
	}
	return size, [sha256.Size]byte(hash.Sum(nil)), nil
}
