-- What a month's complaints came to is counted from the log (WIN-1.7): one of long ago may still
-- wait for its answer, so every complaint's few events that decide that are read, from here alone.
SET LOCAL ROLE standpipe_owner;
SET LOCAL search_path TO standpipe;

CREATE INDEX events_complaint ON events (organisation, stream, version)
INCLUDE (type, occurred_at)
WHERE type IN (
    'ComplaintRegistered', 'ComplaintAnswered', 'RedoOrdered', 'ComplaintAppealed',
    'AppealDecided', 'ComplaintReferred', 'ComplaintWithdrawn', 'MergedAsRepeat',
    'ReferredExternal'
);
