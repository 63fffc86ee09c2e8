-- Stop what runs on the thread, have its work undone, admit the newcomer.
return function(request)
  return { admit = true, cancel = "all", action = "rollback", after = request.finalizing }
end
