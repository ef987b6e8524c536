package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// sealed is an entry of an evidence file, with the tlog-proof beside it.
type sealed struct {
	name         string
	entry, proof []byte
}

func readEvidence(path string) ([]sealed, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	files := map[string][]byte{}
	var names []string
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			return nil, err
		}
		names = append(names, header.Name)
	}
	var found []sealed
	for _, name := range names {
		bare := strings.TrimSuffix(name, ".tlog-proof")
		if bare != name {
			found = append(found, sealed{name, files[bare+".entry"], files[name]})
		}
	}
	// Both messages, both receipts, and a notice for each snapshot.
	if len(found) < 5 {
		return nil, fmt.Errorf("%s: only %d tlog-proofs", path, len(found))
	}
	return found, nil
}

// verify checks that the entry is in the tree that the checkpoint signs, at the index that the proof names.
func (it sealed) verify(keys note.Verifiers) error {
	head, checkpoint, found := bytes.Cut(it.proof, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return fmt.Errorf("%s: not a tlog-proof", it.name)
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", it.name, err)
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return fmt.Errorf("%s: %q is no hash", it.name, line)
		}
		proof = append(proof, *(*tlog.Hash)(hash))
	}
	_, tree, err := openCheckpoint(checkpoint, keys)
	if err != nil {
		return fmt.Errorf("%s: %w", it.name, err)
	}
	if index < 0 || index >= tree.N {
		return fmt.Errorf("%s: index %d is not in a tree of %d entries", it.name, index, tree.N)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(it.entry)); err != nil {
		return fmt.Errorf("%s: %w", it.name, err)
	}
	return nil
}

// refuseChanged counts the changes, of each byte of entry and proof in turn, all of which must be refused.
func (it sealed) refuseChanged(keys note.Verifiers) int {
	refused := 0
	for at := range it.entry {
		changed := sealed{it.name, flipped(it.entry, at), it.proof}
		if changed.verify(keys) == nil {
			fail(fmt.Sprintf("%s: an entry with byte %d changed was accepted", it.name, at))
		}
		refused++
	}
	for at := range it.proof {
		if spare(it.proof, at) {
			continue
		}
		changed := sealed{it.name, it.entry, flipped(it.proof, at)}
		if changed.verify(keys) == nil {
			fail(fmt.Sprintf("%s: a proof with byte %d changed was accepted", it.name, at))
		}
		refused++
	}
	return refused
}
