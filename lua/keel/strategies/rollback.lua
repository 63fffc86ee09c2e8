-- Stop what runs on the thread, have its work undone, admit the newcomer.
return function()
  return { admit = true, cancel = "all", action = "rollback" }
end
