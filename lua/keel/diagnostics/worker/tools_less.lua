-- A worker that asked for no capability can talk, and nothing else.
return function(snapshot)
  local worker = snapshot.worker
  if snapshot.cause ~= "worker_created" or #worker.requested_capabilities > 0 then return {} end
  return { { severity = "info", code = "worker.tools_less", subject = worker.worker_ref,
    message = "the worker requests no capabilities: it has no tools" } }
end
